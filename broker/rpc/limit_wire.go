package rpc

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker/door"
	"github.com/holdfast-io/holdfast/broker/pace"
)

// What calls under way may hold. grpc reads a request whole before it asks for
// the caller, and never gives up one that does not come to its end.
const (
	// strangerStreams and strangerBytes on a connection that has shown no identity
	// yet. A client that brings a token with each call may begin with many at
	// once, and they are seen here before the first token is looked at; those
	// without a good one are answered before they hold anything (edge.header).
	strangerStreams, strangerBytes = 1024, 1 << 20
	// connBytes on any other: sixteen requests of the greatest size. Its streams
	// are bounded by maxStreams.
	connBytes = 16 * maxRequest
	// allBytes on all connections together, each stream counted with streamCost.
	allBytes = 512 << 20
	// streamCost in bytes is what a stream holds by itself: its headers,
	// goroutine and buffers.
	streamCost = 16 << 10
	// uselessRate and uselessBurst bound the frames that no honest client sends
	// often, of which a canceled call is one.
	uselessRate, uselessBurst = 1000, 5000
)

var (
	errNoPlace = errors.New("as many connections stand as may")
	errTooMuch = errors.New("the connection holds more unfinished requests than it may")
	errUseless = errors.New("the connection sends more frames without use than it may")
)

// inflow is what calls under way hold on all connections.
type inflow struct {
	limit   int64
	useless pace.Limit
	total   atomic.Int64
	// overfull and flooded count the connections that were closed.
	overfull, flooded atomic.Int64

	mu sync.Mutex // guards wires; held at the ends of connections, never during a call
	// wires are all connections.
	wires map[*wire]struct{}
}

func newInflow(limit int64) *inflow {
	return &inflow{limit: limit, useless: pace.NewLimit(uselessRate, uselessBurst), wires: map[*wire]struct{}{}}
}

// wire is one connection in the clear. It watches the heads of the frames go by.
type wire struct {
	net.Conn
	flow  *inflow
	place *door.Conn // nil: its listener has no door
	began time.Time
	// known is set once the client has shown who it is.
	known   atomic.Bool
	in, out frames // of the one reader and the one writer
	newest  uint32 // stream; of the one reader
	useless pace.Meter

	mu sync.Mutex // guards all below
	// streams under way, with the bytes of their requests.
	streams map[uint32]int
	held    int
	since   time.Time // when there was a stream after there was none
	closed  bool
}

func (f *inflow) watch(conn net.Conn, place *door.Conn) *wire {
	w := &wire{Conn: conn, flow: f, place: place, began: time.Now(), in: frames{skip: prefaceSize}, streams: map[uint32]int{}}
	f.mu.Lock()
	f.wires[w] = struct{}{}
	f.mu.Unlock()
	return w
}

// show notes that the client has shown who it is; false: there is no place for it.
func (w *wire) show() bool {
	if w.known.Load() {
		return true
	}
	if w.place != nil && !w.place.Known() {
		return false
	}
	w.known.Store(true)
	return true
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		var f frame
		var ok bool
		if f, rest, ok = w.in.next(rest); !ok {
			break
		}
		if bad := w.received(f); bad != nil {
			_ = w.Close()
			return 0, bad
		}
	}
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		var f frame
		var ok bool
		if f, rest, ok = w.out.next(rest); !ok {
			break
		}
		if f.kind == frameRST || f.ends() && (f.kind == frameHeaders || f.kind == frameData) {
			w.drop(f.stream)
		}
	}
	return w.Conn.Write(p)
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.mu.Lock()
	w.closed = true
	w.flow.total.Add(-int64(w.held))
	w.held = 0
	clear(w.streams)
	w.mu.Unlock()
	w.flow.mu.Lock()
	delete(w.flow.wires, w)
	w.flow.mu.Unlock()
	return w.Conn.Close()
}

func (w *wire) received(f frame) error {
	switch f.kind {
	case frameHeaders:
		if f.stream > w.newest {
			w.newest = f.stream
			return w.hold(f.stream, streamCost, true)
		}
	case frameData:
		if f.length > 0 {
			return w.hold(f.stream, f.length, false)
		}
		if !f.ends() {
			return w.count()
		}
	case frameRST:
		w.drop(f.stream)
		return w.count()
	case framePing, frameWindowUpdate, frameGoAway:
		// Of use, or counted by grpc itself (pings).
	default: // settings, priorities, continuations, and what nobody knows
		return w.count()
	}
	return nil
}

// count counts a frame without use.
func (w *wire) count() error {
	if w.useless.Take(w.flow.useless, time.Since(w.began), 1) > 0 {
		w.flow.flooded.Add(1)
		return errUseless
	}
	return nil
}

// hold counts n bytes of a stream that begins, or of one that is under way.
func (w *wire) hold(stream uint32, n int, begins bool) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return net.ErrClosed
	}
	size, under := w.streams[stream]
	if !under && !begins {
		w.mu.Unlock()
		return nil // it was answered before its request had ended
	}
	if len(w.streams) == 0 {
		w.since = time.Now()
	}
	w.streams[stream] = size + n
	w.held += n
	streams, bytes := len(w.streams), w.held-len(w.streams)*streamCost
	total := w.flow.total.Add(int64(n))
	w.mu.Unlock()
	if bytes > connBytes || !w.known.Load() && (bytes > strangerBytes || streams > strangerStreams) {
		w.flow.overfull.Add(1)
		return errTooMuch
	}
	if total > w.flow.limit {
		w.flow.relieve()
	}
	return nil
}

// drop forgets a stream that has ended.
func (w *wire) drop(stream uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, under := w.streams[stream]
	if !under {
		return
	}
	delete(w.streams, stream)
	w.held -= n
	w.flow.total.Add(-int64(n))
}

// relieve closes the connection that holds most for longest: to hold much for
// moments is honest, and so is to hold little for long.
func (f *inflow) relieve() {
	now := time.Now()
	var worst *wire
	var most float64
	f.mu.Lock()
	for w := range f.wires {
		w.mu.Lock()
		weight := float64(w.held) * (now.Sub(w.since) + time.Millisecond).Seconds()
		w.mu.Unlock()
		if weight > most {
			worst, most = w, weight
		}
	}
	f.mu.Unlock()
	if worst != nil {
		f.overfull.Add(1)
		_ = worst.Close()
	}
}
