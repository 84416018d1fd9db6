package patroni

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

// Without this nothing that the replicas show would mean anything: another
// member takes over by itself and has every commit that was answered. That who
// comes back follows it is what the next fail-over waits for.
func TestTheMembersFailOverByThemselvesAndKeepWhatWasCommitted(t *testing.T) {
	explain(t)
	able(t)
	w := startWriting(t)
	w.until(t, 3)
	killed.happen(t, whole(t))
	w.until(t, 3)
	w.judge(t)
}

// fault is what happens to the member that leads.
type fault struct {
	name       string
	begin, end func(t testing.TB, m *member)
}

var (
	killed = fault{"killed", func(t testing.TB, m *member) { m.kill(t) }, func(t testing.TB, m *member) { m.boot(t) }}
	cutOff = fault{"cut off", func(t testing.TB, m *member) { m.unplug(t, peers, callers) }, func(t testing.TB, m *member) {
		m.awaitReadOnly(t)
		m.plug(t, peers, callers)
	}}
	// isolated: callers still reach it, and it answers them for a while.
	isolated = fault{"cut off from its peers", func(t testing.TB, m *member) { m.unplug(t, peers) }, func(t testing.TB, m *member) {
		m.awaitReadOnly(t)
		m.plug(t, peers)
	}}
)

// awaitReadOnly waits until a member that is cut off takes no writes any more.
func (m *member) awaitReadOnly(t testing.TB) {
	t.Helper()
	rig.Until(t, m.name+", which is cut off, takes no writes any more", func() bool {
		said, err := m.sql(t, "SELECT pg_is_in_recovery()")
		return err == nil && said == "t"
	})
}

// happen lets the fault last until another member leads and has a synchronous
// standby, so that it can commit.
func (f fault) happen(t testing.TB, leader *member) {
	t.Helper()
	t.Logf("%s, which leads, is %s", leader, f.name)
	began := time.Now()
	f.begin(t, leader)
	var v view
	rig.Until(t, "another member than "+leader.name+" leads, and has a synchronous standby", func() bool {
		v = look(t)
		return v.leader != nil && v.leader != leader && v.synchronous != nil
	})
	t.Logf("%s leads with %s after %v", v.leader, v.synchronous, time.Since(began).Round(100*time.Millisecond))
	f.end(t, leader)
}

// writing is somebody who writes one row after the other.
type writing struct {
	done    chan struct{}
	stop    context.CancelFunc
	written atomic.Int64
	// kept are the rows whose commit was answered, to be read once done is closed.
	kept []int
}

func startWriting(t testing.TB) *writing {
	if _, err := sql(t, "DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int)"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	w := &writing{done: make(chan struct{}), stop: stop}
	go func() {
		defer close(w.done)
		next := time.NewTicker(100 * time.Millisecond) // so that a fail-over is not the busiest time
		defer next.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := sql(t, fmt.Sprintf("INSERT INTO kept VALUES (%d)", n)); err == nil {
				w.kept = append(w.kept, n)
				w.written.Add(1)
			}
			<-next.C
		}
	}()
	t.Cleanup(w.end)
	return w
}

func (w *writing) end() {
	w.stop()
	<-w.done
}

// until waits until so many more rows are committed.
func (w *writing) until(t testing.TB, rows int64) {
	t.Helper()
	before := w.written.Load()
	rig.Until(t, "rows are committed", func() bool { return w.written.Load() >= before+rows })
}

func (w *writing) judge(t testing.TB) {
	t.Helper()
	w.end()
	said, err := sql(t, "SELECT string_agg(n::text, ' ') FROM kept")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, n := range strings.Fields(said) {
		there[n] = true
	}
	for _, n := range w.kept {
		if !there[fmt.Sprint(n)] {
			t.Errorf("row %d was committed and is gone", n)
		}
	}
	t.Logf("%d rows were committed, %d are there", len(w.kept), len(there))
}
