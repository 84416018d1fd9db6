package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker/pace"
)

// bytesConn is a connection that sends what a test wrote into it.
type bytesConn struct {
	net.Conn
	in     bytes.Buffer
	closed bool
}

func (c *bytesConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *bytesConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *bytesConn) Close() error                { c.closed = true; return nil }

func head(kind, flags byte, stream uint32, length int) []byte {
	b := []byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags}
	return binary.BigEndian.AppendUint32(b, stream)
}

func whole(kind, flags byte, stream uint32, length int) []byte {
	return append(head(kind, flags, stream, length), make([]byte, length)...)
}

// client is a wire whose other end a test plays.
type client struct {
	t    *testing.T
	conn *bytesConn
	wire *wire
}

func newClient(t *testing.T, flow *inflow, known bool) *client {
	c := &client{t: t, conn: &bytesConn{}}
	c.wire = flow.watch(c.conn, nil)
	if known {
		if err := c.wire.show(mapped); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = c.send(make([]byte, prefaceSize))
	return c
}

// send returns how much the server read of it, and its error.
func (c *client) send(p []byte) (read int, err error) {
	c.conn.in.Write(p)
	n, err := io.Copy(io.Discard, c.wire)
	return int(n), err
}

// open begins streams and sends size bytes on each, without ends.
func (c *client) open(first, streams uint32, size int) error {
	for i := range streams {
		id := first + 2*i
		if _, err := c.send(append(whole(frameHeaders, 4, id, 30), whole(frameData, 0, id, size)...)); err != nil {
			return err
		}
	}
	return nil
}

// answer is the server's end of a stream.
func (c *client) answer(stream uint32) {
	if _, err := c.wire.Write(whole(frameHeaders, 5, stream, 20)); err != nil {
		c.t.Fatal(err)
	}
}

func TestAnsweredCallsHoldNothing(t *testing.T) {
	flow := newInflow(allBytes)
	c := newClient(t, flow, true)
	for i := range uint32(3000) { // more than may be held at once
		id := 2*i + 1
		_, err := c.send(append(whole(frameHeaders, 4, id, 30), whole(frameData, flagEndStream, id, 15000)...))
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		c.answer(id)
	}
	if flow.total.Load() != 0 || c.wire.held() != 0 || flow.whole.Load() != 0 || len(c.wire.streams) != 0 {
		t.Errorf("%d bytes in all, %d here, of %d streams", flow.total.Load(), c.wire.held(), len(c.wire.streams))
	}
}

func TestUnfinishedRequestsAreBounded(t *testing.T) {
	for name, row := range map[string]struct {
		known   bool
		streams uint32
		size    int
		want    error
	}{
		"a stranger's few":           {false, 4, 1000, nil},
		"a stranger's many":          {false, strangerStreams + 1, 1, errTooMuch},
		"a stranger's large one":     {false, 1, strangerBytes + 1, errTooMuch},
		"many small":                 {true, maxStreams, 1000, nil},
		"eight of the largest":       {true, 8, maxRequest, nil},
		"nine of the largest":        {true, 9, maxRequest, errTooMuch},
		"as many bytes in many ones": {true, 190, 100_000, errTooMuch},
	} {
		t.Run(name, func(t *testing.T) {
			flow := newInflow(allBytes)
			c := newClient(t, flow, row.known)
			err := c.open(1, row.streams, row.size)
			if !errors.Is(err, row.want) {
				t.Fatalf("error %v, want %v", err, row.want)
			}
			if closed := row.want != nil; c.conn.closed != closed {
				t.Errorf("closed: %v", c.conn.closed)
			}
			_ = c.wire.Close()
			if flow.total.Load() != 0 || flow.whole.Load() != 0 || len(flow.wires) != 0 {
				t.Errorf("after the end %d bytes and %d streams of %d connections are still held", flow.total.Load(), flow.whole.Load(), len(flow.wires))
			}
		})
	}
}

// TestFramesCountAsWhatTheyTake: grpc keeps a buffer, and objects, for each.
func TestFramesCountAsWhatTheyTake(t *testing.T) {
	for name, row := range map[string]struct{ frame, most int }{
		"byte by byte":             {1, 150 << 10},
		"little of a small buffer": {1<<10 + 1, 5 << 20},
		"little of a large buffer": {4<<10 + 1, 5 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			flow := newInflow(allBytes)
			flow.useless = pace.NewLimit(GreatestRate, GreatestRate) // none comes too fast
			c := newClient(t, flow, true)
			if err := c.open(1, 12, 1); err != nil {
				t.Fatal(err)
			}
			sent, one := 0, whole(frameData, 0, 1, row.frame)
			for n := 0; sent < row.most; n++ {
				copy(one[5:], head(0, 0, uint32(1+2*(n%12)), 0)[5:]) // over twelve requests
				if _, err := c.send(one); errors.Is(err, errTooMuch) {
					return
				} else if err != nil {
					t.Fatal(err)
				}
				sent += row.frame
			}
			t.Errorf("%d bytes in frames of %d are held", sent, row.frame)
		})
	}
}

func TestWhoSendsARequestByteByByteIsSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, began := newClient(t, newInflow(allBytes), true), time.Now()
		for i := range uint32(10_000) { // calls in a head, five pieces and an end
			id := 2*i + 1
			pieces := append(bytes.Repeat(whole(frameData, 0, id, 40), 5), whole(frameData, flagEndStream, id, 0)...)
			if _, err := c.send(append(whole(frameHeaders, 4, id, 30), pieces...)); err != nil {
				t.Fatal(err)
			}
			c.answer(id)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("calls in a few pieces waited for %v", took)
		}
		if err := c.open(20_001, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := c.send(bytes.Repeat(whole(frameData, 0, 20_001, 1), 2*uselessBurst)); !errors.Is(err, errTooMuch) {
			t.Errorf("thousands of bytes one by one: %v", err)
		}
	})
}

func TestStreamsThatStandAreBounded(t *testing.T) {
	flow := newInflow(allBytes)
	flow.streams = 1000
	many, few := newClient(t, flow, true), newClient(t, flow, true)
	for i := range uint32(100) {
		if _, err := few.send(whole(frameHeaders, 5, 2*i+1, 30)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(900) {
		id := 2*i + 1
		_, _ = many.send(append(whole(frameHeaders, 4, id, 30), whole(frameData, flagEndStream, id, 0)...))
	}
	many.wire.since, few.wire.since = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
	if flow.total.Load() != 0 || many.conn.closed {
		t.Errorf("%d bytes for streams whose requests have come; closed: %v", flow.total.Load(), many.conn.closed)
	}
	_, _ = few.send(whole(frameHeaders, 5, 1001, 30))
	if !many.conn.closed || few.conn.closed || flow.whole.Load() != 101 {
		t.Errorf("closed: who has most %v, who has few %v; %d stand", many.conn.closed, few.conn.closed, flow.whole.Load())
	}
}

func TestWhoHoldsMostForLongestGivesWay(t *testing.T) {
	flow := newInflow(8 << 20)
	hostile := newClient(t, flow, true)
	if err := hostile.open(1, 3, 2<<20); err != nil {
		t.Fatal(err)
	}
	hostile.wire.since = time.Now().Add(-500 * time.Millisecond)
	busy := newClient(t, flow, true) // with small calls for an hour
	if err := busy.open(1, 8, 100); err != nil {
		t.Fatal(err)
	}
	busy.wire.since = time.Now().Add(-time.Hour)
	honest := newClient(t, flow, true)
	if err := honest.open(1, 3, 1<<20); err != nil {
		t.Fatalf("an honest request was refused: %v", err)
	}
	if busy.conn.closed {
		t.Error("a busy connection gave way")
	}
	if !hostile.conn.closed || honest.conn.closed {
		t.Errorf("the hostile connection closed: %v, the honest one: %v", hostile.conn.closed, honest.conn.closed)
	}
}

func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	flow := newInflow(allBytes)
	reads, reads1 := newClient(t, flow, true), uint32(1)
	for range 200 {
		if err := reads.open(reads1, 1, 10); err != nil {
			t.Fatal(err)
		}
		reads.wire.owe(1 << 20)
		for range 64 {
			_, _ = reads.wire.Write(whole(frameData, 0, reads1, 16<<10))
		}
		reads.answer(reads1)
		reads1 += 2
	}
	if reads.conn.closed || flow.total.Load() != 0 {
		t.Errorf("who reads its answers: closed %v, %d bytes held", reads.conn.closed, flow.total.Load())
	}
	silent := newClient(t, flow, true)
	if err := silent.open(1, 200, 10); err != nil {
		t.Fatal(err)
	}
	for range 33 {
		silent.wire.owe(1 << 20)
	}
	if !silent.conn.closed || flow.total.Load() != 0 {
		t.Errorf("who reads none: closed %v, %d bytes held", silent.conn.closed, flow.total.Load())
	}
}

func TestFloodsOfFramesWithoutUseAreReadSlowly(t *testing.T) {
	for name, f := range map[string][]byte{
		"resets":        whole(frameRST, 0, 1, 4),
		"settings":      whole(0x4, 0, 0, 6),
		"pings":         whole(framePing, 0, 0, 8),
		"continuations": whole(0x9, 0, 1, 10),
		"priorities":    whole(0x2, 0, 1, 5),
		"empty data":    whole(frameData, 0, 1, 0),
		"unknown":       whole(0xee, 0, 1, 3),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, newInflow(allBytes), true)
				began := time.Now()
				if _, err := c.send(bytes.Repeat(f, mostPings/2)); err != nil || time.Since(began) > 0 {
					t.Fatalf("a few took %v, error %v", time.Since(began), err)
				}
				if _, err := c.send(bytes.Repeat(f, 100*uselessBurst)); err != nil || time.Since(began) < longestPause {
					t.Errorf("a flood was read in %v, error %v", time.Since(began), err)
				}
			})
		})
	}
}

// FuzzFrames holds the scanner to one answer, however the bytes are cut, and to
// an end.
func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(whole(frameHeaders, 4, 1, 30), whole(frameData, 1, 1, 5), whole(frameRST, 0, 3, 4)), uint8(1))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), uint8(7))
	f.Fuzz(func(t *testing.T, all []byte, piece uint8) {
		scan := func(size int) (heads []frame) {
			var s frames
			for part := range slices.Chunk(all, size) {
				for rest := part; len(rest) > 0; {
					h, left, ok := s.next(rest)
					if !ok {
						break
					}
					heads, rest = append(heads, h), left
				}
			}
			return heads
		}
		if len(all) == 0 {
			return
		}
		if one, cut := scan(len(all)), scan(int(piece)+1); !slices.Equal(one, cut) {
			t.Fatalf("whole: %v, in pieces of %d: %v", one, piece+1, cut)
		}
		c := newClient(t, newInflow(1<<20), piece%2 == 0)
		_, _ = c.send(all)
		_, _ = c.wire.Write(all)
		flow := c.wire.flow
		if c.wire.held() < 0 || flow.total.Load() != int64(c.wire.held()) || flow.whole.Load() != int64(c.wire.whole) {
			t.Fatalf("held %d of %d, whole %d of %d", c.wire.held(), flow.total.Load(), c.wire.whole, flow.whole.Load())
		}
		_ = c.wire.Close()
		if flow.total.Load() != 0 || flow.whole.Load() != 0 {
			t.Fatalf("after the end %d bytes and %d streams are held", flow.total.Load(), flow.whole.Load())
		}
	})
}
