package storage_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// A replica that runs on while its store is moved away, against what its operator
// was told, stores nothing any more, and what it had stored by then is moved.
func TestReplicasOfAMovedStoreStoreNothingAnyMore(t *testing.T) {
	p := inMemory(t)
	p.from.Dir += "-shared"
	p.from.WitnessFile = p.from.Dir + ".witness"
	p.from.Database = memstore.NewDatabase().Place()
	p.grants = populate(t, p.from)
	other := p.from
	other.Dir += "-other-replica"
	other.WitnessFile = other.Dir + ".witness"
	live := openStore(t, other)
	p.grants[1].State.Fence++
	if err := live.Swap(t.Context(), storage.Update{Grant: &p.grants[1], Events: announced(&p.grants[1])}); err != nil {
		t.Fatal(err)
	}
	between := 0
	o := storage.WithDurable(storage.CopyOptions{}, func(what string) error {
		if strings.Contains(what, "stopped") || strings.Contains(what, "load") || strings.Contains(what, "arrival") {
			between++
			g := p.grants[2]
			if err := live.Swap(t.Context(), storage.Update{Grant: &g}); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "moved to "+p.to.Dir) {
				t.Errorf("a replica stores %s: %v", what, err)
			}
		}
		return nil
	})
	if _, err := storage.Copy(t.Context(), p.from, p.to, o); err != nil {
		t.Fatal(err)
	}
	if between < 6 {
		t.Errorf("the replica tried %d times", between)
	}
	if err := live.Health(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("the replica is healthy: %v", err)
	}
	p.wantArrived(t)
}

// inPostgres is a place in a fresh database.
func inPostgres(t *testing.T, like storage.Config, name string) storage.Config {
	t.Helper()
	like.Dir += "-" + name
	like.WitnessFile = like.Dir + ".witness"
	like.Backend = nil
	like.Database = pgstore.Place(name, pgstore.Options{DSN: secret.New(pgtest.Shared(t).Database(t)), Log: slog.New(slog.DiscardHandler)})
	return like
}

// inBadger is a place in a directory.
func inBadger(_ *testing.T, like storage.Config, name string) storage.Config {
	like.Dir += "-" + name
	like.WitnessFile = like.Dir + ".witness"
	like.Backend = badgerstore.Opener(badgerstore.Options{Log: like.Log})
	return like
}

func TestAStoreMovesBetweenBadgerAndPostgreSQL(t *testing.T) {
	type place func(*testing.T, storage.Config, string) storage.Config
	for _, row := range []struct {
		name     string
		from, to place
	}{
		{"to PostgreSQL", inBadger, inPostgres},
		{"back", inPostgres, inBadger},
	} {
		t.Run(row.name, func(t *testing.T) {
			// Not at every moment: what a crash leaves is the same as in memory.
			for moment := 2; ; moment += 7 {
				base := testConfig(t)
				base.Log = slog.New(slog.DiscardHandler)
				base.Dir = fmt.Sprint(base.Dir, moment)
				p := pair{from: row.from(t, base, "from"), to: row.to(t, base, "to")}
				p.grants = populate(t, p.from)
				_, killed := killedAt(t, moment, func(o storage.CopyOptions) error {
					_, err := storage.Copy(t.Context(), p.from, p.to, o)
					return err
				})
				if killed {
					if _, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				if opens(t, p.from) {
					t.Error("the source opens")
				}
				p.wantArrived(t)
				if !killed {
					return
				}
			}
		})
	}
}

func TestADryRunLeavesAnEmptyDatabaseEmpty(t *testing.T) {
	p := inMemory(t)
	dsn := pgtest.Shared(t).Database(t)
	p.to.Database = pgstore.Place("to", pgstore.Options{DSN: secret.New(dsn), Log: p.to.Log})
	sum, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{DryRun: true})
	if err != nil || sum.Records == 0 {
		t.Fatalf("%+v, %v", sum, err)
	}
	if opens(t, p.to) {
		t.Error("there is a store")
	}
	if !opens(t, p.from) {
		t.Error("the source was marked")
	}
}
