package storage_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// pair of places for a copy: a store with some of everything, and an empty place.
type pair struct {
	from, to storage.Config
	grants   []storage.Grant
}

// inMemory makes both over memory, with header, spill file and witness on disk.
func inMemory(t testing.TB) pair {
	t.Helper()
	cfg := testConfig(t)
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.WitnessFile = cfg.Dir + ".witness"
	cfg.Backend = memstore.New().Opener()
	to := cfg
	to.Dir += "-elsewhere"
	to.WitnessFile = to.Dir + ".witness"
	to.Backend = memstore.New().Opener()
	return pair{cfg, to, populate(t, cfg)}
}

// populate makes a store with grants of all phases, journals, a consent and a
// settlement that waits in the spill file.
func populate(t testing.TB, cfg storage.Config) (grants []storage.Grant) {
	t.Helper()
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	phases := []family.Phase{family.Active, family.Suspected, family.Lapsed, family.Revoked}
	for i := range 8 {
		g := fullGrant(t, fmt.Sprintf("acme/user%d/jira", i))
		g.State.Phase = phases[i%4]
		for n := range i + 1 {
			g.State.Fence++
			e := family.Event{Type: family.EventAnnounced, At: at, Fence: g.State.Fence, Detail: fmt.Sprint(n)}
			if err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: []family.Event{e}}); err != nil {
				t.Fatal(err)
			}
		}
		grants = append(grants, g)
	}
	slot, err := s.Spill().Reserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := storage.Consent{ID: "con_1", Status: storage.ConsentPending, ExpiresAt: at}
	if err := errors.Join(s.Swap(t.Context(), storage.Update{Consent: &c}), slot.Keep(rotation("a-1")), s.Close()); err != nil {
		t.Fatal(err)
	}
	return grants
}

// wantArrived opens the target: it holds everything, goes on as it was, and is
// written to and rotates its keys like any other.
func (p *pair) wantArrived(t *testing.T) {
	t.Helper()
	p.to.MustExist = true
	s := openStore(t, p.to)
	if s.Finding() != "" || s.MustQuarantine() {
		t.Errorf("the target starts quarantined: %s", s.Finding())
	}
	for _, want := range p.grants {
		got, err := s.Grant(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, equal); d != "" {
			t.Errorf("grant (-source +target):\n%s", d)
		}
		events, err := s.Events(t.Context(), want.ID, 0)
		if err != nil || len(events) != int(want.Version) || events[0].Fence != want.State.Fence {
			t.Errorf("%d entries in the journal of a grant that was written %d times, error %v", len(events), want.Version, err)
		}
	}
	found := s.Spill().Found()
	if len(found) != 1 {
		t.Fatalf("%d settlements in the spill file, want 1", len(found))
	}
	if d := cmp.Diff(rotation("a-1"), found[0].Kept(), equal, cmpopts.IgnoreUnexported(family.Spend{})); d != "" {
		t.Errorf("spilled settlement (-source +target):\n%s", d)
	}
	g := p.grants[0]
	g.State.Fence++
	if err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: []family.Event{{Type: family.EventSettled, At: at, Fence: g.State.Fence}}}); err != nil {
		t.Errorf("the next swap: %v", err)
	}
	if _, err := s.BeginKeyRotation(t.Context()); err != nil {
		t.Errorf("rotating the keys: %v", err)
	}
}

// wantMoved finds that the source neither opens nor is changed by the attempt.
func (p *pair) wantMoved(t *testing.T) {
	t.Helper()
	if _, err := storage.Open(t.Context(), p.from); err == nil || !strings.Contains(err.Error(), "moved to "+p.to.Dir) || !strings.Contains(err.Error(), "--undo") {
		t.Errorf("opening the source: %v", err)
	}
}

func TestACopiedStoreServesAndItsSourceNeverAgain(t *testing.T) {
	p := inMemory(t)
	var steps []string
	o := storage.CopyOptions{Progress: func(step storage.CopyStep, done, total int) {
		if done > total {
			t.Errorf("%s: %d of %d", step, done, total)
		}
		if n := len(steps); n == 0 || steps[n-1] != string(step) {
			steps = append(steps, string(step))
		}
	}}
	plan, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.to.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run made the target: %v", err)
	}
	sum, err := storage.Copy(t.Context(), p.from, p.to, o)
	if err != nil {
		t.Fatal(err)
	}
	// The ring, epoch and start, a consent and eight grants with 1 to 8 entries.
	want := storage.CopySummary{StoreID: sum.StoreID, From: p.from.Dir, To: p.to.Dir, Records: 12, Entries: 36, Spilled: 1, Checksum: sum.Checksum}
	if d := cmp.Diff(want, sum); d != "" {
		t.Errorf("summary (-want +got):\n%s", d)
	}
	plan.Checksum = sum.Checksum // a start was counted since
	if d := cmp.Diff(plan, sum); d != "" {
		t.Errorf("the dry run said something else (-said +did):\n%s", d)
	}
	if d := cmp.Diff([]string{string(storage.CopyReading), string(storage.CopyWriting), string(storage.CopyVerifying)}, steps); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	p.wantMoved(t)
	again, err := storage.Copy(t.Context(), p.from, p.to, o)
	if err != nil || !again.Complete {
		t.Errorf("the same copy again: %+v, %v; want that it has ended", again, err)
	}
	p.wantArrived(t)
}

var errKilled = errors.New("killed")

// killedAt runs do, whose copy ends at the given moment; false: it came to its end before.
func killedAt(t *testing.T, moment int, do func(storage.CopyOptions) error) (string, bool) {
	t.Helper()
	n, last := 0, ""
	err := do(storage.WithDurable(storage.CopyOptions{}, func(what string) error {
		n++
		if last = what; n == moment {
			return errKilled
		}
		return nil
	}))
	if err != nil && !errors.Is(err, errKilled) {
		t.Fatalf("ending at moment %d, %q: %v", moment, last, err)
	}
	return last, errors.Is(err, errKilled)
}

// opens says whether a store would open, without starting it.
func opens(t *testing.T, cfg storage.Config) bool {
	_, err := storage.Look(t.Context(), cfg)
	return err == nil
}

func TestACopyThatIsKilledAtAnyMomentGoesOnAndLosesNothing(t *testing.T) {
	moments := 0
	for moment := 1; ; moment++ {
		p := inMemory(t)
		copying := func(o storage.CopyOptions) error {
			_, err := storage.Copy(t.Context(), p.from, p.to, o)
			return err
		}
		what, killed := killedAt(t, moment, copying)
		if !killed {
			break
		}
		moments++
		t.Run(fmt.Sprintf("%d %s", moment, what), func(t *testing.T) {
			before := opens(t, p.from)
			if before && opens(t, p.to) {
				t.Fatal("source and target both open")
			}
			// Killed again, and then no more.
			if what, killed := killedAt(t, 3, copying); killed && !before && opens(t, p.from) {
				t.Errorf("the source opens at %q of the second try", what)
			}
			sum, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !sum.Complete && (sum.Records != 12 || sum.Entries != 36) {
				t.Errorf("%+v", sum)
			}
			p.wantMoved(t)
			p.wantArrived(t)
		})
	}
	if moments < 20 {
		t.Errorf("%d moments were tried; the test does not see them all", moments)
	}
}

func TestACopyIsUndoneAtAnyMomentUntilTheTargetWasStarted(t *testing.T) {
	for moment := 1; ; moment++ {
		p := inMemory(t)
		what, killed := killedAt(t, moment, func(o storage.CopyOptions) error {
			_, err := storage.Copy(t.Context(), p.from, p.to, o)
			return err
		})
		t.Run(fmt.Sprintf("%d %s", moment, what), func(t *testing.T) {
			if opens(t, p.from) { // not begun
				return
			}
			if _, err := storage.UndoCopy(t.Context(), p.from, p.to); err != nil {
				t.Fatal(err)
			}
			if opens(t, p.to) {
				t.Error("the target opens beside the source")
			}
			run(t, p.from, func(s *storage.Store) {
				if s.Finding() != "" || len(s.Spill().Found()) != 1 {
					t.Errorf("the source came back with finding %q", s.Finding())
				}
				if _, err := s.Grant(t.Context(), p.grants[0].ID); err != nil {
					t.Error(err)
				}
			})
			if _, err := storage.UndoCopy(t.Context(), p.from, p.to); err == nil || !strings.Contains(err.Error(), "nothing to undo") {
				t.Errorf("undoing it once more: %v", err)
			}
			if _, err := os.Stat(p.to.Dir); err != nil {
				return // nothing was left there
			}
			if _, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{}); err == nil || !strings.Contains(err.Error(), "empty it") {
				t.Errorf("copying onto what was left: %v", err)
			}
			if !opens(t, p.from) {
				t.Error("the refused copy marked the source")
			}
		})
		if !killed {
			break
		}
	}
	p := inMemory(t)
	if _, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	run(t, p.to)
	_, err := storage.UndoCopy(t.Context(), p.from, p.to)
	if err == nil || !strings.Contains(err.Error(), "has been started on "+p.to.Dir) {
		t.Errorf("undoing a copy that was started: %v", err)
	}
	p.wantMoved(t)
	run(t, p.to) // it opens still
}

func TestACopyThatMayNotBeginChangesNothing(t *testing.T) {
	for _, row := range []struct {
		name    string
		prepare func(t *testing.T, p *pair)
		want    string
	}{
		{"onto itself", func(_ *testing.T, p *pair) { p.to = p.from }, "name another target"},
		{"no source", func(_ *testing.T, p *pair) { p.from.Dir += "-nowhere" }, "there is no store in"},
		{"a target of another environment", func(_ *testing.T, p *pair) { p.to.Environment = "staging" }, `environment "test"`},
		{"a target under another KEK", func(t *testing.T, p *pair) { p.to.KEK = testConfig(t).KEK }, "wrong KEK"},
		{"a target that holds another store", func(t *testing.T, p *pair) {
			other := testConfig(t)
			p.to.Dir, other.Dir, other.KEK = other.Dir, p.to.Dir, p.to.KEK
			other.Dir = p.to.Dir
			run(t, other)
		}, "holds another store"},
		{"a target directory with something else in it", func(t *testing.T, p *pair) {
			if err := errors.Join(os.Mkdir(p.to.Dir, 0o700), os.WriteFile(filepath.Join(p.to.Dir, "letters"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "is not empty"},
		{"a target without room", func(_ *testing.T, p *pair) {
			p.to.Room = func(dir string, bytes uint64) error {
				if dir != filepath.Dir(p.to.Dir) || bytes < 1000 {
					t.Errorf("asked for room for %d bytes in %s", bytes, dir)
				}
				return errors.New("no room there; nothing was changed")
			}
		}, "looking at the target: no room there"},
		{"a target whose witness can not be made", func(t *testing.T, p *pair) {
			p.to.WitnessFile = filepath.Join(p.to.WitnessFile, "beside", "store.witness")
			if err := os.WriteFile(p.from.Dir+"-elsewhere.witness", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "-elsewhere.witness"},
		{"a target that is a copy of the source's files", func(t *testing.T, p *pair) { copyDir(t, p.from.Dir, p.to.Dir) }, "or a copy of it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := inMemory(t)
			source := p.from
			row.prepare(t, &p)
			before := hashDir(t, filepath.Dir(source.Dir))
			_, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{})
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Count(err.Error(), "nothing was changed") != 1 {
				t.Fatalf("got %v, want %q, and once that nothing was changed", err, row.want)
			}
			if strings.Contains(err.Error(), "nothing to undo") {
				t.Errorf("it says twice that nothing was changed: %v", err)
			}
			if d := cmp.Diff(before, hashDir(t, filepath.Dir(source.Dir))); d != "" {
				t.Errorf("files changed (-before +after):\n%s", d)
			}
			run(t, source)
		})
	}
}

// announced is the journal entry of a write.
func announced(g *storage.Grant) []family.Event {
	return []family.Event{{Type: family.EventAnnounced, At: at, Fence: g.State.Fence}}
}

func TestATargetThatHoldsSomethingElseIsNotFinished(t *testing.T) {
	for _, row := range []struct {
		name   string
		tamper func(*testing.T, *memstore.Store)
		want   string
	}{
		{"a record more", func(t *testing.T, m *memstore.Store) {
			it := storage.Item{Key: storage.Key{Kind: storage.KindMeta, ID: "more"}, Version: 1, Public: []byte("p"), Sealed: []byte("s")}
			if err := m.Load(t.Context(), []storage.Item{it}, nil); err != nil {
				t.Fatal(err)
			}
		}, "13 records, 36 journal entries"},
		{"a journal entry more", func(t *testing.T, m *memstore.Store) {
			if err := m.Load(t.Context(), nil, []storage.Entry{{GrantID: address(t, "acme/user1/jira").GrantID(), Sealed: []byte("s")}}); err != nil {
				t.Fatal(err)
			}
		}, "12 records, 37 journal entries"},
		{"another record of a name", func(t *testing.T, m *memstore.Store) {
			key := storage.Key{Kind: storage.KindConsent, ID: "con_1"}
			it, err := m.Get(t.Context(), key)
			if err == nil {
				err = m.Swap(t.Context(), []storage.Change{{Old: it.Version, Item: it}}, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "holds another record con_1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := inMemory(t)
			target := memstore.New()
			p.to.Backend = target.Opener()
			last := ""
			o := storage.WithDurable(storage.CopyOptions{}, func(what string) error {
				if last = what; what == "before done" {
					return errKilled
				}
				return nil
			})
			if _, err := storage.Copy(t.Context(), p.from, p.to, o); !errors.Is(err, errKilled) {
				t.Fatalf("at %q: %v", last, err)
			}
			target.Crash()
			row.tamper(t, target)
			_, err := storage.Copy(t.Context(), p.from, p.to, storage.CopyOptions{})
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "--undo") {
				t.Errorf("got %v, want %q and the way out", err, row.want)
			}
			if opens(t, p.from) || opens(t, p.to) {
				t.Error("one of the two opens")
			}
			if _, err := storage.UndoCopy(t.Context(), p.from, p.to); err != nil || !opens(t, p.from) {
				t.Errorf("undoing it: %v", err)
			}
		})
	}
}
