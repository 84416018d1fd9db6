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
// member takes over by itself, has every commit that was answered, and what comes
// back follows it.
func TestTheMembersFailOverByThemselvesAndKeepWhatWasCommitted(t *testing.T) {
	whole(t)
	if _, err := sql(t, "CREATE TABLE kept (n int PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	w := startWriting(t)
	for _, row := range []struct {
		what      string
		fail, end func(m *member)
	}{
		{"killed", func(m *member) { m.kill(t) }, func(m *member) { m.boot(t) }},
		{"cut off", func(m *member) { m.unplug(t, peers, callers) }, func(m *member) { m.plug(t, peers, callers) }},
	} {
		old := look(t).leader
		w.until(t, 3)
		t.Logf("%s is %s", old, row.what)
		row.fail(old)
		newLeader(t, old)
		w.until(t, 3)
		if row.what == "cut off" {
			rig.Until(t, old.name+" takes no writes any more", func() bool {
				said, err := old.sql(t, "SELECT pg_is_in_recovery()")
				return err == nil && said == "t"
			})
		}
		row.end(old)
		whole(t)
	}
	w.judge(t)
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
