package rpc

import (
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
	// streams under way, with what their requests hold.
	streams map[uint32]request
	// bodies are the bytes of all requests, unfinished and whole how many there
	// are that have not come to their end, and that have.
	bodies, unfinished, whole int
	// owed are the bytes of large answers that are not sent: the client may not
	// read. Which stream an answer is of is not known here: what is sent pays for
	// the oldest.
	owed   atomic.Int64 // changed under mu
	since  time.Time    // when there was a stream after there was none
	closed bool
}

// request is one under way.
type request struct {
	// bytes that it holds, in so many frames.
	bytes, frames int
	// whole is set when all of it has come.
	whole bool
}

func (f *inflow) watch(conn net.Conn, place *door.Conn) *wire {
	w := &wire{Conn: conn, flow: f, place: place, began: time.Now(), in: frames{skip: prefaceSize}, streams: map[uint32]request{}}
	f.mu.Lock()
	f.wires[w] = struct{}{}
	f.mu.Unlock()
	return w
}

// show notes that the client has shown who it is, "" if that has no name yet. With
// an error, the door's, there is no place for it.
func (w *wire) show(name string) error {
	if w.known.Load() {
		return nil
	}
	if w.place != nil {
		if err := w.place.Known(name); err != nil {
			return err
		}
	}
	w.known.Store(true)
	return nil
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

// held is what the connection holds, in bytes. The caller holds mu.
func (w *wire) held() int { return w.bodies + w.unfinished*streamCost + int(w.owed.Load()) }

// forget gives back all that the connection holds; it holds nothing any more.
func (w *wire) forget() {
	w.mu.Lock()
	w.closed = true
	w.flow.total.Add(-int64(w.held()))
	w.flow.whole.Add(-int64(w.whole))
	w.bodies, w.unfinished, w.whole = 0, 0, 0
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
			return w.begin(f)
		}
	case frameData:
		if f.ends() {
			w.ahead.Add(1)
		}
		if f.length == 0 && !f.ends() {
			w.count()
			return nil
		}
		return w.hold(f)
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

// count counts a frame without use, and reports whether there are too many.
func (w *wire) count() bool {
	if w.useless.Take(w.flow.useless, time.Since(w.began), 1) == 0 {
		return false
	}
	w.slow(longestPause)
	return true
}

// begin counts a stream that begins.
func (w *wire) begin(f frame) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return net.ErrClosed
	}
	if len(w.streams) == 0 {
		w.since = time.Now()
	}
	w.streams[f.stream] = request{whole: f.ends()}
	streams := len(w.streams)
	var total, whole int64
	if f.ends() {
		w.whole++
		whole = w.flow.whole.Add(1)
	} else {
		w.unfinished++
		total = w.flow.total.Add(streamCost)
	}
	w.mu.Unlock()
	if streams > strangerStreams && !w.known.Load() {
		w.flow.overfull.Add(1)
		return errTooMuch
	}
	w.flow.bound(total, whole)
	return nil
}

// hold counts a frame of a request.
func (w *wire) hold(f frame) error {
	w.mu.Lock()
	r, under := w.streams[f.stream]
	if !under { // it was answered before its request had ended
		closed := w.closed
		w.mu.Unlock()
		if closed {
			return net.ErrClosed
		}
		return nil
	}
	n := kept(f.length)
	r.bytes += n
	r.frames++
	w.bodies += n
	var whole int64
	if f.ends() && !r.whole {
		r.whole = true
		w.unfinished--
		w.whole++
		n -= streamCost
		whole = w.flow.whole.Add(1)
	}
	w.streams[f.stream] = r
	bodies, total := w.bodies, w.flow.total.Add(int64(n))
	w.mu.Unlock()
	dribbles := !f.ends() && f.length < smallFrame && r.frames > fewFrames && w.count()
	if dribbles || bodies > connBytes || bodies > strangerBytes && !w.known.Load() {
		w.flow.overfull.Add(1)
		return errTooMuch
	}
	w.flow.bound(total, whole)
	return nil
}

// drop forgets a stream that has ended.
func (w *wire) drop(stream uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, under := w.streams[stream]
	if !under {
		return
	}
	delete(w.streams, stream)
	w.bodies -= r.bytes
	n := r.bytes
	if r.whole {
		w.whole--
		w.flow.whole.Add(-1)
	} else {
		w.unfinished--
		n += streamCost
	}
	if len(w.streams) == 0 {
		n += int(w.owed.Swap(0))
	}
	w.flow.total.Add(-int64(n))
}

// pay counts n bytes of answers as sent.
func (w *wire) pay(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(n, int(w.owed.Load()))
	w.owed.Add(-int64(n))
	w.flow.total.Add(-int64(n))
}

// answer counts an answer that is about to be sent, unless it is small, as the hot
// call's usually is: that one is not measured for it.
func (w *wire) answer(resp any) {
	if one, hot := resp.(*holdfastv1.GetAccessTokenResponse); hot {
		w.owe(len(one.GetAccessToken()))
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
	owed, total := w.owed.Add(int64(n)), w.flow.total.Add(int64(n))
	w.mu.Unlock()
	if owed > connOwed {
		w.flow.overfull.Add(1)
		w.end()
		return
	}
	w.flow.bound(total, 0)
}
