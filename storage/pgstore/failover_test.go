package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// cluster is a primary with one standby, and replicas of one store that find
// whichever takes writes.
type cluster struct {
	t                *testing.T
	base             string
	kek              seal.KEK
	primary, standby *pgtest.Server
}

func newCluster(t *testing.T, synchronous bool) *cluster {
	t.Helper()
	base := t.TempDir()
	kek, err := seal.CreateFile(filepath.Join(base, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	primary := pgtest.Start(t)
	return &cluster{t, base, kek, primary, pgtest.Standby(t, primary, synchronous)}
}

func (c *cluster) config(name string) storage.Config {
	dsn := fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable", c.primary.Addr(), c.standby.Addr())
	log := slog.New(slog.DiscardHandler)
	return storage.Config{
		Dir: filepath.Join(c.base, name), Environment: "test", Provider: "sim", KEK: c.kek, SpillSlots: 1, Log: log,
		Database: pgstore.Place("a cluster", pgstore.Options{DSN: secret.New(dsn), Log: log}),
	}
}

func (c *cluster) open(name string) *storage.Store {
	c.t.Helper()
	s, err := storage.Open(c.t.Context(), c.config(name))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return s
}

// failOver cuts the standby off, has work commit what it will lack, and promotes it.
func (c *cluster) failOver(work func()) {
	c.t.Helper()
	c.standby.Exec(c.t, "postgres", "ALTER SYSTEM SET primary_conninfo = ''")
	c.standby.Exec(c.t, "postgres", "SELECT pg_reload_conf()")
	c.standby.Await(c.t, "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
	work()
	c.primary.Kill(c.t)
	c.standby.Promote(c.t)
}

// granted writes a grant so many times, with a fence more each time.
func (c *cluster) granted(s *storage.Store, g *storage.Grant, times int) {
	c.t.Helper()
	for range times {
		g.State.Fence++
		e := family.Event{Type: family.EventAnnounced, At: time.Now(), Fence: g.State.Fence}
		if err := s.Swap(c.t.Context(), storage.Update{Grant: g, Events: []family.Event{e}}); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) grant(name string) *storage.Grant {
	a, err := storage.ParseAddress("acme/" + name + "/jira")
	if err != nil {
		c.t.Fatal(err)
	}
	return &storage.Grant{ID: a.GrantID(), Address: a, App: "jira", CreatedAt: time.Now(), State: family.State{Phase: family.Active, Generation: 1, Refresh: secret.New("r-" + name)}}
}

// settled waits until all replicas have looked into the fail-over: they wait for
// each other. A read is refused until one knows of it.
func (c *cluster) settled(g *storage.Grant, stores ...*storage.Store) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	work, ctx := errgroup.WithContext(ctx)
	for _, s := range stores {
		work.Go(func() error {
			for err := storage.ErrUnavailable; err != nil; {
				if _, err = s.Grant(ctx, g.ID); err == nil {
					err = s.Health(ctx)
				}
				if err != nil && !errors.Is(err, storage.ErrUnavailable) || ctx.Err() != nil {
					return errors.Join(err, ctx.Err())
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		c.t.Fatalf("after the fail-over: %v", err)
	}
}

func (c *cluster) want(s *storage.Store, g *storage.Grant, phase family.Phase) {
	c.t.Helper()
	got, err := s.Grant(c.t.Context(), g.ID)
	if err != nil || got.State.Phase != phase {
		c.t.Errorf("%s is %s, error %v; want %s", g.Address, got.State.Phase, err, phase)
	}
}

func TestAPromotedAsynchronousStandbyHasItsLostGrantsQuarantinedAndNamed(t *testing.T) {
	c := newCluster(t, false)
	a, b := c.open("a"), c.open("b")
	whole, lostA, lostB, atHand := c.grant("whole"), c.grant("lost-a"), c.grant("lost-b"), c.grant("at-hand")
	for _, g := range []*storage.Grant{whole, lostA, lostB, atHand} {
		c.granted(a, g, 1)
	}
	c.primary.Await(t, "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication")
	c.failOver(func() {
		c.granted(a, lostA, 1)
		c.granted(b, lostB, 2)
		c.granted(b, atHand, 2)
	})
	b.SetAtHand(func(id string) (storage.Grant, bool) { return *atHand, id == atHand.ID })
	c.settled(whole, a, b)
	for _, s := range []*storage.Store{a, b} {
		c.want(s, whole, family.Active)
		c.want(s, lostA, family.Quarantined)
		c.want(s, lostB, family.Quarantined)
		c.want(s, atHand, family.Active)
		if f := s.Finding(); !strings.Contains(f, "failed over to timeline 2") {
			t.Errorf("finding %q", f)
		}
	}
	c.granted(a, whole, 1)
	c.granted(b, whole, 1)
	c.granted(b, atHand, 1) // as if nothing had been lost
	page, err := a.Grants(t.Context(), storage.Filter{Phase: family.Quarantined})
	if err != nil || len(page) != 2 {
		t.Errorf("%d grants are listed as quarantined, error %v", len(page), err)
	}
}

func TestAPromotedSynchronousStandbyHasLostNothing(t *testing.T) {
	c := newCluster(t, true)
	a, b := c.open("a"), c.open("b")
	g := c.grant("whole")
	c.granted(a, g, 3)
	if err := b.Close(); err != nil { // nobody waits for it
		t.Fatal(err)
	}
	c.primary.Kill(t)
	c.standby.Promote(t)
	c.settled(g, a)
	c.want(a, g, family.Active)
	c.granted(a, g, 1)
	if f := a.Finding(); f != "" {
		t.Errorf("finding %q", f)
	}
}

func TestAServerTellsItsOriginAndItsDurability(t *testing.T) {
	c := newCluster(t, false)
	s := open(t, c.primary.DSN("postgres"))
	o, err := s.Origin(t.Context())
	if err != nil || o.System == "" || o.Timeline != 1 {
		t.Errorf("origin %+v, error %v", o, err)
	}
	d, err := s.Durability(t.Context())
	if want := (pgstore.Durability{SynchronousCommit: "on", Fsync: true, FullPageWrites: true, Standbys: 1}); err != nil || d != want {
		t.Errorf("durability %+v, error %v; want %+v", d, err, want)
	}
	// A broker's role may do no more than the manual says, and still be told.
	c.primary.Exec(t, "postgres", "CREATE ROLE least LOGIN PASSWORD 'least'; GRANT SELECT, INSERT, UPDATE, DELETE ON holdfast_record, holdfast_journal TO least; "+
		"GRANT SELECT, UPDATE ON holdfast_store TO least; GRANT USAGE ON SEQUENCE holdfast_commit TO least; GRANT SELECT ON holdfast_schema, holdfast_migration TO least")
	least := open(t, strings.Replace(c.primary.DSN("postgres"), "postgres@", "least:least@", 1))
	if told, err := least.Origin(t.Context()); told != o || err != nil {
		t.Errorf("a role with the least rights is told %+v, error %v; want %+v", told, err, o)
	}
	if told, err := least.Durability(t.Context()); told != d || err != nil {
		t.Errorf("and %+v, error %v; want %+v", told, err, d)
	}
	if yes, err := s.Replicated(t.Context()); yes || err != nil {
		t.Errorf("replicated: %v, error %v; the standby is asynchronous", yes, err)
	}
}
