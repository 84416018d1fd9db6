package faultproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/e2e/chaos/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing waits for it when all goes well.
const patience = 20 * time.Second

// echo answers every line by its name and that line, and remembers all lines.
type echo struct {
	name string
	l    net.Listener
	mu   sync.Mutex
	got  []string
	ends int
}

func newEcho(t *testing.T, name string) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{name: name, l: l}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return e
}

func (e *echo) serve(c net.Conn) {
	defer c.Close()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		e.mu.Lock()
		e.got = append(e.got, lines.Text())
		e.mu.Unlock()
		if _, err := fmt.Fprintf(c, "%s %s\n", e.name, lines.Text()); err != nil {
			break
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends++
}

func (e *echo) saw() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.got, " ")
}

// world is a proxy before an echo.
type world struct {
	t *testing.T
	*echo
	*faultproxy.Proxy
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e := newEcho(t, "one")
	p, err := faultproxy.Listen(e.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close) // before the echo ends, which waits for its connections
	return &world{t, e, p}
}

func (w *world) dial() *client {
	w.t.Helper()
	c, err := net.DialTimeout("tcp", w.Addr(), patience)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	w.t.Cleanup(func() { c.Close() })
	return &client{w.t, c, bufio.NewReader(c)}
}

// until polls a proxy's counts, which is a look and not a synchronisation.
func (w *world) until(what string, done func(faultproxy.Counts) bool) {
	w.t.Helper()
	end, again := time.After(patience), time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !done(w.Counts()) {
		select {
		case <-again.C:
		case <-end:
			w.t.Fatalf("not within %v: %s; the counts are %+v", patience, what, w.Counts())
		}
	}
}

type client struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (c *client) send(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.c, line); err != nil {
		c.t.Fatalf("sending %q: %v", line, err)
	}
}

func (c *client) want(line string) {
	c.t.Helper()
	got, err := c.r.ReadString('\n')
	if err != nil || got != line+"\n" {
		c.t.Fatalf("got %q, %v, want %q", got, err, line)
	}
}

// wantEnd wants the connection to have ended without another byte.
func (c *client) wantEnd() {
	c.t.Helper()
	got, err := c.r.ReadString('\n')
	if err == nil || got != "" || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("got %q, %v, want the end of the connection", got, err)
	}
}

func TestWithoutAFaultBytesPassAndEndsToo(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	c.send("a")
	c.want("one a")
	other := newEcho(t, "two")
	w.Retarget(other.l.Addr().String())
	c.send("b")
	c.want("one b") // open connections stay where they are
	d := w.dial()
	d.send("c")
	d.want("two c")
	long := strings.Repeat("x", 60_000)
	d.send(long)
	d.want("two " + long)
	if err := d.c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	d.wantEnd()
}

func TestAFaultOfTheNetwork(t *testing.T) {
	for _, row := range []struct {
		fault faultproxy.Fault
		// saw is what the target saw of the line "b" before the fault ended.
		saw string
		// after the fault the open connection has this answer; "": it was reset.
		after string
	}{
		{faultproxy.HalfOpen, "a", ""},
		{faultproxy.Mute, "a", ""},
		{faultproxy.Deaf, "a b", ""},
		{faultproxy.Stalled, "a", "one b"},
		{faultproxy.Fault{Down: faultproxy.Hold}, "a b", "one b"},
	} {
		t.Run(row.fault.String(), func(t *testing.T) {
			w := newWorld(t)
			c := w.dial()
			c.send("a")
			c.want("one a")
			w.Set(row.fault)
			c.send("b")
			w.until("a piece was swallowed or held", func(n faultproxy.Counts) bool { return n.Swallowed+n.Held > 0 })
			if got := w.saw(); got != row.saw {
				t.Errorf("the target saw %q, want %q", got, row.saw)
			}
			if n := w.Counts(); n.Reset != 0 {
				t.Errorf("%d connections were reset while the fault held", n.Reset)
			}
			w.Set(faultproxy.None)
			if row.after != "" {
				c.want(row.after)
			} else {
				c.wantEnd()
			}
			d := w.dial()
			d.send("c")
			d.want("one c")
		})
	}
}

func TestACutResetsAllAndRefusesNewConnections(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	c.send("a")
	c.want("one a")
	w.Set(faultproxy.Cut)
	c.wantEnd()
	if d, err := net.DialTimeout("tcp", w.Addr(), patience); err == nil { // the system accepts, before the proxy can refuse
		_ = d.SetDeadline(time.Now().Add(patience))
		(&client{t, d, bufio.NewReader(d)}).wantEnd()
		d.Close()
	}
	w.Set(faultproxy.None)
	e := w.dial()
	e.send("b")
	e.want("one b")
	if got := w.saw(); got != "a b" {
		t.Errorf("the target saw %q", got)
	}
}

// TestTheEndOfAConnectionIsLostLikeItsBytes: the target goes on believing in it.
func TestTheEndOfAConnectionIsLostLikeItsBytes(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	c.send("a")
	c.want("one a")
	w.Set(faultproxy.Mute)
	c.c.Close()
	w.until("the end was swallowed", func(n faultproxy.Counts) bool { return n.Swallowed > 0 })
	if w.ended() != 0 {
		t.Error("the target saw the end")
	}
	w.Set(faultproxy.None)
	w.until("the target saw the end", func(faultproxy.Counts) bool { return w.ended() == 1 })
}

func (e *echo) ended() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ends
}

func TestSlowDelaysBothWays(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	const by = 30 * time.Millisecond
	w.Set(faultproxy.Slow(by))
	began := time.Now()
	c.send("a")
	c.want("one a")
	if took := time.Since(began); took < 2*by {
		t.Errorf("an answer took %v, want %v at least", took, 2*by)
	}
}

func TestADeadTargetIsAnEndAndNoWait(t *testing.T) {
	w := newWorld(t)
	w.l.Close()
	c, err := net.DialTimeout("tcp", w.Addr(), patience)
	if err != nil {
		return // it was reset before the dialer looked
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stayed open")
	}
}
