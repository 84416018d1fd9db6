package door

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a door on loopback whose connections a test opens one by one.
type rig struct {
	t    *testing.T
	door *Door
	lis  net.Listener
}

func newRig(t *testing.T, l Limits) *rig {
	d, err := New(l)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, d, d.Listen(raw)}
	t.Cleanup(func() { _ = r.lis.Close() })
	return r
}

func (r *rig) open() (client net.Conn, server *Conn) {
	r.t.Helper()
	client, err := net.Dial("tcp", r.lis.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := r.lis.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	server = c.(*Conn)
	r.t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// ended reports whether the other side has closed c. A connection that stands
// has nothing to read, so that the look ends with its deadline.
func ended(t *testing.T, c net.Conn, within time.Duration) bool {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout()) && (errors.Is(err, io.EOF) || err != nil)
}

func TestTheStrangerWhoStoodLongestGivesWay(t *testing.T) {
	r := newRig(t, Limits{Strangers: 2, Known: 2})
	first, _ := r.open()
	second, _ := r.open()
	third, _ := r.open()
	if !ended(t, first, 5*time.Second) {
		t.Error("the first of three strangers still stands at a door of two")
	}
	if ended(t, second, 10*time.Millisecond) || ended(t, third, 10*time.Millisecond) {
		t.Error("another gave way instead of the first")
	}
	if s, k := r.door.Standing(); s != 2 || k != 0 || r.door.Turned() != 1 {
		t.Errorf("%d strangers, %d known, %d turned away", s, k, r.door.Turned())
	}
}

func TestNobodyGivesWayAtOnce(t *testing.T) {
	r := newRig(t, Limits{Strangers: 1, Known: 1})
	_, server := r.open()
	began := time.Now()
	r.open()
	if took := time.Since(began); took < leastStay-10*time.Millisecond {
		t.Errorf("a stranger gave way after %v, want %v", took, leastStay)
	}
	if server.Known("") == nil {
		t.Error("it stands still")
	}
}

func TestNoStrangerTakesThePlaceOfOneWhoIsKnown(t *testing.T) {
	r := newRig(t, Limits{Strangers: 1, Known: 1})
	client, server := r.open()
	if server.Known("") != nil {
		t.Fatal("no place for the first")
	}
	for range 5 {
		r.open()
	}
	if ended(t, client, 10*time.Millisecond) {
		t.Error("strangers took the place of one who is known")
	}
	other, late := r.open()
	if late.Known("") == nil || !ended(t, other, 5*time.Second) {
		t.Error("more are known than there are places")
	}
	_ = server.Close()
	_, next := r.open()
	if next.Known("") != nil {
		t.Error("the place of one who left is not free")
	}
}

func TestWhoIsAStrangerAgainMayHaveToGiveWay(t *testing.T) {
	r := newRig(t, Limits{Strangers: 1, Known: 1})
	client, server := r.open()
	_ = server.Known("")
	server.Stranger()
	r.open()
	if !ended(t, client, 5*time.Second) {
		t.Error("it kept its place")
	}
	if server.Known("") == nil {
		t.Error("one who lost its place was let in")
	}
}

func TestClosingTwiceFreesOnePlace(t *testing.T) {
	r := newRig(t, Limits{Strangers: 3, Known: 3})
	_, server := r.open()
	_, other := r.open()
	_ = other.Known("")
	_ = server.Known("")
	_ = server.Close()
	_ = server.Close()
	if s, k := r.door.Standing(); s != 0 || k != 1 {
		t.Errorf("%d strangers and %d known, want 0 and 1", s, k)
	}
}

func TestOneNameDoesNotTakeEveryPlace(t *testing.T) {
	r := newRig(t, Limits{Strangers: 9, Known: 4, KnownByName: 2})
	_, first := r.open()
	_, second := r.open()
	client, third := r.open()
	for _, one := range []*Conn{first, second} {
		if err := one.Known("greedy"); err != nil {
			t.Fatal(err)
		}
	}
	if err := third.Known("greedy"); !errors.Is(err, ErrFullForName) || !ended(t, client, 5*time.Second) {
		t.Errorf("a third of a name that may have two: %v", err)
	}
	if err := third.Known("modest"); !errors.Is(err, ErrFullForName) {
		t.Errorf("one who was sent away, asked again: %v", err)
	}
	_, other := r.open()
	if err := other.Known("modest"); err != nil {
		t.Errorf("another name: %v", err)
	}
	if err := first.Known("modest"); err != nil {
		t.Errorf("one who is known shows another name: %v", err)
	}
	_ = first.Close()
	_, next := r.open()
	if err := next.Known("greedy"); err != nil {
		t.Errorf("the place of one who left is not free: %v", err)
	}
	_, last := r.open()
	if err := last.Known("greedy"); !errors.Is(err, ErrFullForName) {
		t.Errorf("the second name of one who left was counted: %v", err)
	}
}
