package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// errFailedSync is what a store says until it is reopened: a settlement does not
// wait for it.
var errFailedSync = fmt.Errorf("%w: %w", storage.ErrUnavailable, storage.ErrReopen)

// failAfterSpend makes the store fail as soon as the provider has rotated.
func (w *world) failAfterSpend(err error) {
	had := w.refreshes()
	w.backend.onSwap(func([]storage.Change) error {
		if w.refreshes() > had {
			return err
		}
		return nil
	})
	// Or the broker would wait for it when it is closed.
	w.t.Cleanup(func() { w.backend.onSwap(nil) })
}

// health is the broker's, as an operator sees it.
func (w *world) health() *broker.Status {
	w.t.Helper()
	s, err := w.Status(ctx, op)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// spilled rotates jira, whose new token the store does not take.
func spilled(t *testing.T, settings ...setting) *world {
	t.Helper()
	w := newWorld(t, append([]setting{inMemory}, settings...)...)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.failAfterSpend(errFailedSync)
	w.refused(jira, broker.ReasonStoreUnavailable)
	if n := w.refreshes(); n != 1 {
		t.Fatalf("%d rotations, want 1", n)
	}
	return w
}

// inMemory keeps the records where a kill is exact: Badger goes on compacting
// while its files are copied. The spill is a file all the same.
func inMemory(w *world) { w.mem = memstore.New() }

// killed is a broker of a new process over what SIGKILL leaves of this one's
// store. before, if not nil, comes between the store's opening and the broker's.
func (w *world) killed(before func(*world)) *world {
	w.t.Helper()
	n := &world{t: w.t, clock: w.clock, sim: w.sim, simURL: w.simURL, dir: w.t.TempDir(), secrets: w.secrets, mem: w.mem, cfg: w.cfg}
	n.audit = filepath.Join(n.dir, "audit.jsonl")
	copyDir(w.t, w.dir, n.dir)
	n.openStore()
	if before != nil {
		before(n)
	}
	n.startBroker()
	return n
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(to, rel), 0o700))
		}
		return copyFile(p, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyFile leaves holes where there are zeros: Badger makes its logs as long as
// they may become.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode())
	if err != nil {
		return err
	}
	defer out.Close()
	buf, zeros := make([]byte, 1<<16), make([]byte, 1<<16)
	for off := int64(0); off < info.Size(); off += int64(len(buf)) {
		n, _ := in.ReadAt(buf, off)
		if !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				return err
			}
		}
	}
	return out.Truncate(info.Size())
}

// tokens are the refresh and access tokens in the store and of the spill file's settlement.
func (w *world) tokens() []string {
	g := w.killed(nil).grant(jira)
	old := w.grant(jira)
	return []string{g.State.Refresh.Reveal(), g.State.Access.Token.Reveal(), old.State.Refresh.Reveal(), old.State.Access.Token.Reveal()}
}

// logged collects a log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
