package storage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// Whoever breaks a copy off must be told which of the two is the store now.
func TestACopyThatIsBrokenOffSaysWhetherTheSourceIsStillInUse(t *testing.T) {
	for _, row := range []struct {
		name string
		when string // the moment at which it is broken off; "": while the source is read
		hurt bool   // the source's header can not be read by then
		want string
		open bool // the source, afterwards
	}{
		{"while the source is read", "", false, "the source is not marked as moved: it is the store as before, and there is nothing to undo", true},
		{"before a start is counted", "before start", false, "nothing was changed", true},
		{"when the mark was not set", "before fence", false, "nothing was changed", true},
		{"when nobody knows", "before fence", true, "whether the source is marked as moved could not be found out: start no broker", false},
		{"when the mark was set", "after fence", false, "the source stays marked as moved, and no broker starts on it", false},
		{"while records go over", "before load", false, "the source stays marked as moved, and no broker starts on it", false},
		{"when all has gone over", "before arrival", false, "all of it has gone to ", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := inMemory(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			o := storage.CopyOptions{Progress: func(storage.CopyStep, int, int) {
				if row.when == "" {
					interrupt()
				}
			}}
			o = storage.WithDurable(o, func(what string) error {
				if what != row.when {
					return nil
				}
				if row.hurt {
					if err := os.Remove(filepath.Join(p.from.Dir, storage.HeaderFile)); err != nil {
						t.Error(err)
					}
				}
				interrupt()
				return fmt.Errorf("%w: no room; nothing was changed", ctx.Err()) // of what failed, that is
			})
			_, err := storage.Copy(ctx, p.from, p.to, o)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if !row.open && strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("it says that nothing was changed: %v", err)
			}
			if got := opens(t, p.from); got != row.open {
				t.Errorf("the source opens: %v, against what was said", got)
			}
			if row.hurt {
				return
			}
			// It goes on all the same.
			if _, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	// Nothing of the source is known by then.
	p := inMemory(t)
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := storage.Copy(ended, p.from, p.to, storage.CopyOptions{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the source is not marked as moved") {
		t.Errorf("of a copy that did not begin: %v", err)
	}
	if !opens(t, p.from) || opens(t, p.to) {
		t.Error("a copy that did not begin has done something")
	}
}

// What is left of an undone copy must not send anybody to a copy that can not go
// on, nor to an undo that has been done.
func TestWhatAnUndoneCopyHasLeftSaysSo(t *testing.T) {
	stages := map[string]bool{}
	for moment := 1; ; moment++ {
		p := inMemory(t)
		what, killed := killedAt(t, moment, func(o storage.CopyOptions) error {
			_, err := storage.Copy(t.Context(), p.from, p.to, o)
			return err
		})
		_, none := os.Stat(filepath.Join(p.to.Dir, storage.HeaderFile))
		if none == nil && killed && !opens(t, p.to) {
			if _, err := storage.Open(t.Context(), p.to); err == nil || !strings.Contains(err.Error(), "run the same holdfast store copy again") {
				t.Errorf("%q: before the undo: %v", what, err)
			}
		}
		if opens(t, p.from) || none != nil {
			continue
		}
		if _, err := storage.UndoCopy(t.Context(), p.from, p.to); err != nil {
			t.Fatal(err)
		}
		_, err := storage.Open(t.Context(), p.to)
		if err == nil || !strings.Contains(err.Error(), "was undone, and never opens: the store is in "+p.from.Dir) || !strings.Contains(err.Error(), "empty this place") ||
			strings.Contains(err.Error(), "copy again") || strings.Contains(err.Error(), "--undo") {
			t.Errorf("%q: after the undo: %v", what, err)
		}
		if !opens(t, p.from) {
			t.Errorf("%q: the source does not open after the undo", what)
		}
		stages[what] = true
		if !killed {
			break
		}
	}
	if len(stages) < 5 {
		t.Errorf("only %v were undone", stages)
	}
}

// A broker that was started too early has made a store where the copy should go.
func TestACopySaysThatABrokerWasStartedAtItsTargetTooEarly(t *testing.T) {
	const advice = "if a broker was started with the target's configuration before the copy"
	early := func(t *testing.T, p *pair, holds string) error {
		t.Helper()
		_, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{DryRun: true})
		if err == nil || !strings.Contains(err.Error(), holds) || !strings.Contains(err.Error(), advice) || !strings.Contains(err.Error(), "nothing was changed") ||
			!strings.Contains(err.Error(), p.to.Dir) {
			t.Errorf("got %v", err)
		}
		return err
	}
	t.Run("in a directory", func(t *testing.T) {
		p := inMemory(t)
		run(t, p.to)
		_ = early(t, &p, "holds another store")
	})
	t.Run("in a database", func(t *testing.T) {
		p := inMemory(t)
		dsn := pgtest.Shared(t).Database(t)
		at := func(dsn string) *storage.DatabasePlace {
			return pgstore.Place("to", pgstore.Options{DSN: secret.New(dsn), Log: slog.New(slog.DiscardHandler)})
		}
		p.to.Database, p.to.Backend = at(dsn), nil
		run(t, p.to)
		_ = early(t, &p, "without any grant")
		run(t, p.to, func(s *storage.Store) {
			g := fullGrant(t, "acme/early/jira")
			if err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: announced(&g)}); err != nil {
				t.Fatal(err)
			}
		})
		_ = early(t, &p, "with grants")
		// Done as it says: another database for the one that was emptied.
		p.to.Database = at(pgtest.Shared(t).Database(t))
		if _, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{}); err == nil || !strings.Contains(err.Error(), "move it away; the source is not marked") {
			t.Errorf("beside the early broker's spill file: %v", err)
		}
		if err := os.Rename(p.to.Dir, p.to.Dir+"-early"); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
		p.wantArrived(t)
	})
}

// A dry run refuses what the real run would have refused, and both change nothing.
func TestADryRunFindsWhatTheTargetsDatabaseWouldBeRefusedFor(t *testing.T) {
	server := pgtest.Shared(t)
	p := inMemory(t)
	dsn := server.Database(t)
	o := pgstore.Options{DSN: secret.New(dsn), Log: slog.New(slog.DiscardHandler), MigrateByHand: true}
	p.to.Database, p.to.Backend = pgstore.Place("to", o), nil
	for _, dry := range []bool{true, false} {
		_, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{DryRun: dry})
		if err == nil || !strings.Contains(err.Error(), "lacks migration 00001_records.sql, and store.postgres.migrate is by_hand") ||
			strings.Count(err.Error(), "nothing was changed") != 1 {
			t.Errorf("dry run %v: %v", dry, err)
		}
		if !opens(t, p.from) {
			t.Fatal("the source was marked")
		}
	}
	if _, err := pgstore.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if sum, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{DryRun: true}); err != nil || sum.Records == 0 {
		t.Errorf("with the schema: %+v, %v", sum, err)
	}
	// A source whose schema is seen to by hand is looked at in the same way.
	p.from.Database, p.from.Backend = pgstore.Place("from", pgstore.Options{DSN: secret.New(server.Database(t)), Log: o.Log, MigrateByHand: true}), nil
	p.to.Backend, p.to.Database = memstore.New().Opener(), nil
	if _, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{DryRun: true}); err == nil || !strings.Contains(err.Error(), "looking at the source: the database's schema lacks") {
		t.Errorf("of such a source: %v", err)
	}
}
