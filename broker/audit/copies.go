package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Exporter takes lines to another machine.
type Exporter interface {
	// Name for logs and metrics, e.g. "otlp".
	Name() string
	// Export sends lines, without newlines, and returns when they are received.
	// It blocks until ctx ends at the most. The lines must not be kept.
	Export(ctx context.Context, lines [][]byte) error
	// Close releases it.
	Close() error
}

// Bounds of a copy: what waits for it, and how long one export may take. A batch
// is at most a few megabytes.
const (
	copyQueue   = 256
	copyBytes   = 16 << 20
	copyTimeout = 10 * time.Second
	// At the end a copy gets copyEnd for what waits still, and copyLeave more to give
	// up what is under way: a sink that nobody reads must not keep the process.
	copyEnd   = 5 * time.Second
	copyLeave = time.Second
)

// copySink takes whole batches.
type copySink interface {
	name() string
	put(ctx context.Context, b []byte) error
	close() error
}

// stream is a copySink over a plain writer, which it does not close.
type stream struct{ w io.Writer }

func (stream) name() string { return "stdout" }
func (s stream) put(_ context.Context, b []byte) error {
	_, err := s.w.Write(b)
	return err
}
func (stream) close() error { return nil }

// exports is a copySink over an Exporter.
type exports struct{ e Exporter }

func (s exports) name() string { return s.e.Name() }
func (s exports) put(ctx context.Context, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	return s.e.Export(ctx, bytes.Split(bytes.Trim(b, "\n"), []byte("\n")))
}
func (s exports) close() error { return s.e.Close() }

// primary makes a copySink the one that everything waits for. A failed batch may
// have arrived: its lines count as written, so that no number is given twice.
type primary struct{ s copySink }

func (p primary) write(b []byte) (int, error) { return len(b), p.s.put(context.Background(), b) }
func (primary) sync() error                   { return nil }
func (p primary) close() error                { return p.s.close() }

// copier copies batches to a sink that nobody waits for.
type copier struct {
	sink  copySink
	log   *slog.Logger
	queue chan batch
	done  chan struct{}
	bytes atomic.Int64
	// waiting lines are in the queue or under way.
	waiting atomic.Int64
	// lost lines were dropped or refused, the newest at lostAt; warned is when that
	// was last logged. Both are in Unix nanoseconds.
	lost           atomic.Uint64
	lostAt, warned atomic.Int64
	// abandon ends what is under way.
	abandon context.CancelFunc
}

type batch struct {
	b     []byte
	lines int
}

func newCopier(s copySink, log *slog.Logger) *copier {
	c := &copier{sink: s, log: log, queue: make(chan batch, copyQueue), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	c.abandon = cancel
	go func() {
		defer close(c.done)
		for b := range c.queue {
			if err := c.sink.put(ctx, b.b); err != nil {
				c.lose(b.lines, "error", err)
			}
			c.waiting.Add(-int64(b.lines))
			c.bytes.Add(-int64(len(b.b)))
		}
	}()
	return c
}

// offer never blocks: what finds the queue full is lost, and counted.
func (c *copier) offer(b []byte, lines int) {
	if c.bytes.Load()+int64(len(b)) > copyBytes {
		c.lose(lines, "because", "its queue is full")
		return
	}
	select {
	case c.queue <- batch{bytes.Clone(b), lines}:
		c.bytes.Add(int64(len(b)))
		c.waiting.Add(int64(lines))
	default:
		c.lose(lines, "because", "its queue is full")
	}
}

// lose counts, and warns once a minute.
func (c *copier) lose(lines int, key string, why any) {
	lost := c.lost.Add(uint64(lines))
	now := time.Now().UnixNano()
	c.lostAt.Store(now)
	if last := c.warned.Load(); now-last >= int64(time.Minute) && c.warned.CompareAndSwap(last, now) {
		c.log.Warn("audit lines were not copied; the primary record has them", "sink", c.sink.name(), "lines_lost", lost, key, why)
	}
}

// close sends what waits still, as far as copyEnd allows. A sink that does not
// return is left behind: the process ends.
func (c *copier) close() {
	close(c.queue)
	defer c.abandon()
	if !c.ends(copyEnd) {
		c.abandon()
		if !c.ends(copyLeave) {
			c.lose(int(c.waiting.Load()), "because", "it took none until the end")
			return
		}
	}
	if err := c.sink.close(); err != nil {
		c.log.Warn("closing a copy of the audit record", "sink", c.sink.name(), "error", err)
	}
}

func (c *copier) ends(within time.Duration) bool {
	limit := time.NewTimer(within)
	defer limit.Stop()
	select {
	case <-c.done:
		return true
	case <-limit.C:
		return false
	}
}

// complaint says what this copy lacks; empty: nothing.
func (c *copier) complaint() string {
	lost := c.lost.Load()
	if lost == 0 {
		return ""
	}
	return fmt.Sprintf("%d audit lines did not reach the copy %s, the newest at %s: it lacks what the audit record has; see the log for why",
		lost, c.sink.name(), time.Unix(0, c.lostAt.Load()).UTC().Format(time.RFC3339))
}
