package rpc

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/broker/door"
	"github.com/holdfast-io/holdfast/broker/pace"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
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
	allBytes = 256 << 20
	// streamCost in bytes is what a stream holds by itself: its headers,
	// goroutine and buffers.
	streamCost = 8 << 10
	// largeAnswer in bytes: smaller ones are not counted until they are sent.
	largeAnswer = 16 << 10
	// uselessRate and uselessBurst bound the frames that no honest client sends
	// often, of which a canceled call is one: beyond them a connection is read
	// more slowly.
	uselessRate, uselessBurst = 1000, 1000
	// mostAhead requests of a connection may have come whole without having begun
	// before its reader lets others go first. Otherwise one connection fills the
	// queue in which the calls of all others wait.
	mostAhead = 32
	// mostPings between two calls; grpc itself ends a connection of too many, but
	// reads and answers them until then.
	mostPings = 16
	// longestPause between two reads of a connection that asks for too much.
	longestPause = 100 * time.Millisecond
)

var (
	errNoPlace = errors.New("as many connections stand as may")
	errTooMuch = errors.New("the connection holds more unfinished requests than it may")
)

// inflow is what calls under way hold on all connections.
type inflow struct {
	limit   int64
	useless pace.Limit
	total   atomic.Int64
	// overfull counts the connections that were closed, paused the pauses of others.
	overfull, paused atomic.Int64

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
	pings   int    // since the newest stream began; of the one reader
	useless pace.Meter
	// ahead are the requests that came whole and have not begun.
	ahead atomic.Int64
	// pause is how long the next read waits, in nanoseconds.
	pause atomic.Int64

	mu sync.Mutex // guards all below
	// streams under way, with the bytes of their requests.
	streams map[uint32]int
	// owed are the bytes of large answers that are not sent: the client may not
	// read. Which stream an answer is of is not known here: what is sent pays for
	// the oldest.
	owed atomic.Int64 // changed under mu
	// held is all of it: streams and owed.
	held   int
	since  time.Time // when there was a stream after there was none
	closed bool
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

// slow makes the next read of the connection wait: what a client asks for
// beyond its limits costs as much as what it may, unless it is left unread.
func (w *wire) slow(d time.Duration) { w.pause.Store(int64(min(d, longestPause))) }

// yield lets others go first while the connection is ahead. Some requests never
// begin, since they are canceled first: they are forgotten by halves.
func (w *wire) yield() {
	for range 64 {
		if w.ahead.Load() <= mostAhead {
			return
		}
		runtime.Gosched()
	}
	w.ahead.Store(w.ahead.Load() / 2)
}

// begun notes that a call begins.
func (w *wire) begun() {
	if w.ahead.Add(-1) < 0 {
		w.ahead.CompareAndSwap(-1, 0)
	}
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if w.pause.Load() > 0 {
		w.flow.paused.Add(1)
		time.Sleep(time.Duration(w.pause.Swap(0)))
	}
	w.yield()
	n, err := w.Conn.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		var f frame
		var ok bool
		if f, rest, ok = w.in.next(rest); !ok {
			break
		}
		if bad := w.received(f); bad != nil {
			w.end()
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
		if f.kind == frameData && w.owed.Load() > 0 {
			w.pay(f.length)
		}
	}
	return w.Conn.Write(p)
}

// end makes the transport close the connection. It does not wait, as the end of
// TLS does for a client that reads nothing; who ends it may be another's reader.
func (w *wire) end() {
	w.forget()
	if w.place != nil {
		_ = w.place.Close() // its reader and its writer fail
		return
	}
	_ = w.Conn.Close()
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.forget()
	return w.Conn.Close()
}

// forget gives back all that the connection holds; it holds nothing any more.
func (w *wire) forget() {
	w.mu.Lock()
	w.closed = true
	w.flow.total.Add(-int64(w.held))
	w.held = 0
	w.owed.Store(0)
	clear(w.streams)
	w.mu.Unlock()
	w.flow.mu.Lock()
	delete(w.flow.wires, w)
	w.flow.mu.Unlock()
}

func (w *wire) received(f frame) error {
	switch f.kind {
	case frameHeaders:
		w.pings = 0
		if f.stream > w.newest {
			w.newest = f.stream
			return w.hold(f.stream, streamCost, true)
		}
	case frameData:
		if f.ends() {
			w.ahead.Add(1)
		}
		if f.length > 0 {
			return w.hold(f.stream, f.length, false)
		}
		if !f.ends() {
			w.count()
		}
	case frameRST:
		w.drop(f.stream)
		w.count()
	case framePing:
		// Clients measure the way by a ping for each answer, so that their number says nothing.
		if w.pings++; f.flags&flagAck == 0 && w.pings > mostPings {
			w.slow(longestPause)
		}
	case frameWindowUpdate, frameGoAway:
	default: // settings, priorities, continuations, and what nobody knows
		w.count()
	}
	return nil
}

// count counts a frame without use.
func (w *wire) count() {
	if wait := w.useless.Take(w.flow.useless, time.Since(w.began), 1); wait > 0 {
		w.slow(longestPause)
	}
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
	streams, bytes := len(w.streams), w.held-len(w.streams)*streamCost-int(w.owed.Load())
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
	w.release(n)
	if len(w.streams) == 0 {
		w.release(int(w.owed.Swap(0)))
	}
}

// release counts n bytes less. The caller holds mu.
func (w *wire) release(n int) {
	w.held -= n
	w.flow.total.Add(-int64(n))
}

// pay counts n bytes of answers as sent.
func (w *wire) pay(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(n, int(w.owed.Load()))
	w.owed.Add(-int64(n))
	w.release(n)
}

// answer counts an answer that is about to be sent, unless it is the hot call's,
// which is small.
func (w *wire) answer(resp any) {
	if _, small := resp.(*holdfastv1.GetAccessTokenResponse); small {
		return
	}
	if m, ok := resp.(proto.Message); ok {
		w.owe(proto.Size(m))
	}
}

// owe counts an answer of n bytes that is about to be sent, and ends a
// connection that reads none.
func (w *wire) owe(n int) {
	if n < largeAnswer {
		return
	}
	w.mu.Lock()
	if w.closed || len(w.streams) == 0 {
		w.mu.Unlock()
		return
	}
	w.held += n
	owed := w.owed.Add(int64(n))
	total := w.flow.total.Add(int64(n))
	w.mu.Unlock()
	if owed > connBytes {
		w.flow.overfull.Add(1)
		w.end()
	} else if total > w.flow.limit {
		w.flow.relieve()
	}
}

// relieve closes the connection that holds most for longest: to hold much for
// moments is honest, and so is to hold little for long. A connection in use is
// never without a stream, so that its time says nothing beyond a second.
func (f *inflow) relieve() {
	const longest = time.Second
	now := time.Now()
	var worst *wire
	var most float64
	f.mu.Lock()
	for w := range f.wires {
		w.mu.Lock()
		weight := float64(w.held) * min(now.Sub(w.since)+time.Millisecond, longest).Seconds()
		w.mu.Unlock()
		if weight > most {
			worst, most = w, weight
		}
	}
	f.mu.Unlock()
	if worst != nil {
		f.overfull.Add(1)
		worst.end()
	}
}
