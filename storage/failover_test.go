package storage_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// replicas are of one store in a database that may fail over.
type replicas struct {
	t    *testing.T
	base string
	kek  seal.KEK
	db   *memstore.Database
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	base := t.TempDir()
	kek, err := seal.CreateFile(filepath.Join(base, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	return &replicas{t, base, kek, memstore.NewDatabase()}
}

func (r *replicas) config(name string) storage.Config {
	return storage.Config{
		Dir: filepath.Join(r.base, name), Environment: "test", Provider: "sim", KEK: r.kek, Database: r.db.Place(),
		SpillSlots: 1, Log: slog.New(slog.DiscardHandler),
	}
}

func (r *replicas) open(name string) *storage.Store {
	r.t.Helper()
	s, err := storage.Open(r.t.Context(), r.config(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *replicas) close(stores ...*storage.Store) {
	r.t.Helper()
	for _, s := range stores {
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

// grant makes one that is active.
func (r *replicas) grant(s *storage.Store, name string) *storage.Grant {
	r.t.Helper()
	g := fullGrant(r.t, "acme/"+name+"/jira")
	g.State.Phase = family.Active
	r.write(s, &g)
	return &g
}

// write stores the grant with the next fence, as an announcement does.
func (r *replicas) write(s *storage.Store, g *storage.Grant) {
	r.t.Helper()
	if err := r.tryWrite(r.t.Context(), s, g); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replicas) tryWrite(ctx context.Context, s *storage.Store, g *storage.Grant) error {
	next := *g
	next.State.Fence++
	err := s.Swap(ctx, storage.Update{Grant: &next, Events: []family.Event{{Type: family.EventAnnounced, At: at, Fence: next.State.Fence}}})
	if err == nil {
		*g = next
	}
	return err
}

func (r *replicas) want(s *storage.Store, g *storage.Grant, phase family.Phase) {
	r.t.Helper()
	got, err := s.Grant(r.t.Context(), g.ID)
	if err != nil || got.State.Phase != phase {
		r.t.Errorf("%s is %s, error %v; want %s", g.Address, got.State.Phase, err, phase)
	}
}

// noticed has a replica find the fail-over, as its next write does, and waits until it has looked into it.
func (r *replicas) noticed(s *storage.Store) {
	r.t.Helper()
	probe := fullGrant(r.t, "acme/probe/jira")
	if err := r.tryWrite(r.t.Context(), s, &probe); !errors.Is(err, storage.ErrUnavailable) {
		r.t.Errorf("the first write after the fail-over: %v, want that nothing is stored", err)
	}
	synctest.Wait()
}

func TestGrantsOfWhichAFailOverLostCommitsAreQuarantinedAndOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t)
		a, b := r.open("a"), r.open("b")
		defer func() { r.close(a, b) }()
		whole, lostByA, lostByB, revoked := r.grant(a, "whole"), r.grant(a, "lost-a"), r.grant(b, "lost-b"), r.grant(a, "revoked")
		standby := r.db.Durable()
		r.write(a, lostByA)
		r.write(b, lostByB)
		r.write(b, lostByB) // announced and settled
		revoked.State.Phase = family.Revoked
		r.write(a, revoked)

		r.db.Promote(standby)
		r.noticed(a)
		// b has not compared: until it has, a stores nothing.
		if err := r.tryWrite(t.Context(), a, whole); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "have not compared their fence logs yet") {
			t.Errorf("a writes before b has compared: %v", err)
		}
		if err := a.Health(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("and is healthy: %v", err)
		}
		r.noticed(b)
		<-time.After(2 * time.Second) // the bubble's: a looks again each second
		synctest.Wait()
		for _, s := range []*storage.Store{a, b} {
			r.want(s, whole, family.Active)
			for _, g := range []*storage.Grant{lostByA, lostByB, revoked} {
				r.want(s, g, family.Quarantined)
			}
			if err := s.Health(t.Context()); err != nil {
				t.Error(err)
			}
		}
		r.write(a, whole)
		r.write(b, whole)
		<-time.After(time.Minute) // until each has looked at what the other found
		synctest.Wait()
		for _, s := range []*storage.Store{a, b} {
			if f := s.Finding(); !strings.Contains(f, "failed over to timeline 2") || !strings.Contains(f, "grants are quarantined") || s.MustQuarantine() {
				t.Errorf("finding %q", f)
			}
		}
		if n := a.LostCommits().Quarantined.Load() + b.LostCommits().Quarantined.Load(); n != 3 {
			t.Errorf("%d grants were counted as quarantined, want 3", n)
		}
		// The same fail-over is no news after a restart.
		r.close(b)
		b = r.open("b")
		r.write(b, whole)
	})
}

func TestWhatIsInMemoryIsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplicas(t)
		a := r.open("a")
		defer func() { r.close(a) }()
		g := r.grant(a, "rotated")
		gone := r.grant(a, "forgotten")
		standby := r.db.Durable()
		r.write(a, g)
		r.write(a, g)
		r.write(a, gone)
		newest := *g
		a.SetAtHand(func(id string) (storage.Grant, bool) { return newest, id == g.ID })
		r.db.Promote(standby)
		r.noticed(a)
		got, err := a.Grant(t.Context(), g.ID)
		if err != nil || got.Version != newest.Version || got.State.Fence != newest.State.Fence || got.State.Phase != family.Active {
			t.Errorf("version %d, fence %d, %s, %v; want it as it was", got.Version, got.State.Fence, got.State.Phase, err)
		}
		events, err := a.Events(t.Context(), g.ID, 1)
		if err != nil || len(events) != 1 || events[0].Type != family.EventRestored {
			t.Errorf("journal %v, %v", events, err)
		}
		r.want(a, gone, family.Quarantined)
		r.write(a, g) // who has it at hand goes on with it: nothing conflicts
		if c := a.LostCommits(); c.Restored.Load() != 1 || c.Quarantined.Load() != 1 {
			t.Errorf("%d restored, %d quarantined", c.Restored.Load(), c.Quarantined.Load())
		}
	})
}

func TestAReplicaWhoseLogIsMissingQuarantinesTheWholeStore(t *testing.T) {
	for _, row := range []struct {
		name        string
		synchronous bool
		// left ends replica b before the fail-over.
		left func(*replicas, *storage.Store)
		want family.Phase
	}{
		{"it has died", false, func(_ *replicas, b *storage.Store) { b.Die() }, family.Quarantined},
		{"it has died, and a standby had every commit", true, func(_ *replicas, b *storage.Store) { b.Die() }, family.Active},
		{"it has ended in order", false, func(r *replicas, b *storage.Store) { r.close(b) }, family.Active},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReplicas(t)
				r.db.Synchronous(row.synchronous)
				a, b := r.open("a"), r.open("b")
				defer r.close(a)
				g := r.grant(a, "any")
				row.left(r, b)
				r.db.Promote(r.db.Durable())
				r.noticed(a)
				<-time.After(2 * time.Minute)
				synctest.Wait()
				r.want(a, g, row.want)
				if f := a.Finding(); strings.Contains(f, "fence logs are missing") != (row.want == family.Quarantined) {
					t.Errorf("finding %q", f)
				}
				fresh := r.grant(a, "new")
				r.want(a, fresh, family.Active)
				if row.name != "it has ended in order" {
					r.close(b)
				}
			})
		})
	}
}

func TestAReplicaComparesItsLogAtItsStart(t *testing.T) {
	r := newReplicas(t)
	a := r.open("a")
	whole, lost := r.grant(a, "whole"), r.grant(a, "lost")
	standby := r.db.Durable()
	r.write(a, lost)
	r.close(a)
	r.db.Promote(standby)
	a = r.open("a")
	r.want(a, lost, family.Quarantined)
	r.want(a, whole, family.Active)
	r.write(a, whole)
	r.close(a)
}

func TestAFenceLogOfAnotherStoreIsRefused(t *testing.T) {
	r, other := newReplicas(t), newReplicas(t)
	r.close(r.open("a"))
	other.close(other.open("a"))
	name := filepath.Join(r.base, "a", storage.FenceLogFile)
	if err := os.Rename(filepath.Join(other.base, "a", storage.FenceLogFile), name); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Open(t.Context(), r.config("a")); err == nil || !strings.Contains(err.Error(), "is of another store") {
		t.Errorf("got %v", err)
	}
}
