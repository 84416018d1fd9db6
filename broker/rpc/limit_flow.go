package rpc

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

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
	// connBytes on any other: eight requests of the greatest size, in frames of the
	// greatest; connOwed of answers that are not sent: two of the greatest size. Its
	// streams are bounded by maxStreams.
	connBytes, connOwed = 9 * maxRequest, 2 * maxAnswer
	// allBytes on all connections together, each unfinished request counted with
	// streamCost. Twice as much is in memory until the collector has run.
	allBytes = 64 << 20
	// allStreams whose requests have come: as many as may watch and wait for a
	// refresh by default, and some.
	allStreams = 32 << 10
	// streamCost in bytes is what a stream holds by itself: its headers,
	// goroutine and buffers.
	streamCost = 8 << 10
	// frameCost in bytes is what a frame of a request holds beside its own: grpc
	// keeps frames one by one until the request is whole.
	frameCost = 128
	// An honest request comes in at most fewFrames smaller than smallFrame bytes. Who
	// sends many more of them is sent away: each costs as much as a call.
	smallFrame, fewFrames = 1 << 10, 8
	// largeAnswer in bytes: smaller ones are not counted until they are sent.
	largeAnswer = 4 << 10
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
	errTooMuch = errors.New("the connection holds more unfinished requests than it may")
)

// inflow is what calls under way hold on all connections.
type inflow struct {
	// limit of total, and streams of whole.
	limit, streams int64
	useless        pace.Limit
	// total are the bytes of requests, of unfinished streams and of answers that are
	// not sent; whole are the streams whose requests have come and that stand.
	total, whole atomic.Int64
	// overfull counts the connections that were closed, paused the pauses of others.
	overfull, paused atomic.Int64

	mu sync.Mutex // guards wires; held at the ends of connections, never during a call
	// wires are all connections.
	wires map[*wire]struct{}
}

func newInflow(limit int64) *inflow {
	return &inflow{limit: limit, streams: allStreams, useless: pace.NewLimit(uselessRate, uselessBurst), wires: map[*wire]struct{}{}}
}

// kept is what grpc keeps in memory for a frame of n bytes of a request: buffers
// come in these sizes.
func kept(n int) int {
	switch {
	case n == 0:
		return 0
	case n <= 1<<10:
		return n + frameCost
	case n <= 4<<10:
		return 4<<10 + frameCost
	}
	return max(n, 16<<10) + frameCost
}

// bound has somebody give way if there is more than there may be.
func (f *inflow) bound(total, whole int64) {
	if total > f.limit {
		f.relieve((*wire).held)
	}
	if whole > f.streams {
		f.relieve(func(w *wire) int { return w.whole })
	}
}

// relieve closes the connection that holds most for longest: to hold much for
// moments is honest, and so is to hold little for long. A connection in use is
// never without a stream, so that its time says nothing beyond a second.
func (f *inflow) relieve(holds func(*wire) int) {
	const longest = time.Second
	now := time.Now()
	var worst *wire
	var most float64
	f.mu.Lock()
	for w := range f.wires {
		w.mu.Lock()
		weight := float64(holds(w)) * min(now.Sub(w.since)+time.Millisecond, longest).Seconds()
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
