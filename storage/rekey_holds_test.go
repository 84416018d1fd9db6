package storage_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// gated holds back the swap of one record until it is let go.
type gated struct {
	storage.Backend
	id             string
	arrived, leave chan struct{}
	once           sync.Once
}

func (g *gated) Swap(ctx context.Context, changes []storage.Change, entries []storage.Entry) error {
	if changes[0].Item.Key.ID == g.id {
		g.once.Do(func() {
			close(g.arrived)
			<-g.leave
		})
	}
	return g.Backend.Swap(ctx, changes, entries)
}

// A swap that was sealed by the old key may come to the backend after everything
// else was sealed anew; its key must be there for as long.
func TestTheOldKeyStaysWhileASwapUnderItIsOnItsWay(t *testing.T) {
	for _, row := range []struct {
		name string
		// earlier: another rotation ends while the swap, which its new key sealed, is on its way.
		earlier bool
	}{{"in the first rotation", false}, {"in the next one", true}} {
		t.Run(row.name, func(t *testing.T) {
			gate := &gated{Backend: memstore.New(), id: "slow", arrived: make(chan struct{}), leave: make(chan struct{})}
			cfg := testConfig(t)
			cfg.Backend = func(string, []byte) (storage.Backend, error) { return gate, nil }
			s := openStore(t, cfg)
			begin := func() {
				t.Helper()
				if _, err := s.BeginKeyRotation(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if row.earlier {
				begin()
			}
			stored := make(chan error)
			go func() {
				stored <- s.SwapMeta(context.Background(), &storage.Meta{Name: "slow", Value: []byte("value")})
			}()
			<-gate.arrived
			if row.earlier {
				passes(t, s)
			}
			begin()
			for range 3 {
				if r, err := s.ResealPass(t.Context(), nothing); err != nil || r.Done {
					t.Fatalf("with a swap on its way: %+v, error %v", r, err)
				}
			}
			close(gate.leave)
			if err := <-stored; err != nil {
				t.Fatal(err)
			}
			passes(t, s)
			if m, err := s.Meta(t.Context(), "slow"); err != nil || string(m.Value) != "value" {
				t.Errorf("the slow record: %q, error %v", m.Value, err)
			}
		})
	}
}

// slowRead lets something happen between the reading of a consent and its opening.
type slowRead struct {
	storage.Backend
	meanwhile func()
}

func (r *slowRead) Get(ctx context.Context, key storage.Key) (storage.Item, error) {
	it, err := r.Backend.Get(ctx, key)
	if key.Kind == storage.KindConsent && r.meanwhile != nil {
		r.meanwhile()
	}
	return it, err
}

// What was read before its record was sealed anew is no damage a moment later,
// even if its key went meanwhile, and the one after it.
func TestWhatWasReadBeforeARotationStillOpens(t *testing.T) {
	slow := &slowRead{Backend: memstore.New()}
	cfg := testConfig(t)
	cfg.Backend = func(string, []byte) (storage.Backend, error) { return slow, nil }
	s := openStore(t, cfg)
	fill(t, s)
	slow.meanwhile = func() {
		slow.meanwhile = nil
		for range 2 {
			if _, err := s.BeginKeyRotation(t.Context()); err != nil {
				t.Fatal(err)
			}
			passes(t, s)
		}
	}
	if _, err := s.Consent(t.Context(), "con_0"); err != nil {
		t.Errorf("read before two rotations and opened after them: %v", err)
	}
}

func TestWritersGoOnDuringARotation(t *testing.T) {
	onBoth(t, func(t *testing.T, cfg storage.Config) {
		s := openStore(t, cfg)
		grants := fill(t, s)
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := w; ctx.Err() == nil; i += 4 {
					g := &grants[i%len(grants)]
					if i%4 != w {
						continue
					}
					g.State.Fence++
					events := []family.Event{{Type: family.EventAnnounced, At: at, Fence: g.State.Fence}}
					// Each grant has one writer: nothing but a rotation could make it conflict.
					if err := s.Swap(context.Background(), storage.Update{Grant: g, Events: events}); err != nil {
						t.Errorf("a writer: %v", err)
						return
					}
					if _, err := s.Grant(context.Background(), g.ID); err != nil {
						t.Errorf("a reader: %v", err)
						return
					}
				}
			})
		}
		for range 3 {
			if _, err := s.BeginKeyRotation(t.Context()); err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				r, err := s.ResealPass(t.Context(), nothing)
				if err != nil || n > 100 {
					t.Fatalf("pass %d: %+v, error %v", n, r, err)
				}
				if r.Done {
					break
				}
			}
		}
		stop()
		writers.Wait()
		for _, g := range grants {
			if got, err := s.Grant(t.Context(), g.ID); err != nil || got.State.Fence != g.State.Fence {
				t.Errorf("%s: fence %d, error %v; want %d", g.Address, got.State.Fence, err, g.State.Fence)
			}
		}
	})
}

func TestWhatCanNotBeSealedAnewKeepsTheOldKey(t *testing.T) {
	s := newTampered(t)
	bad := s.put(fullGrant(t, "acme/b/jira"))
	whole := s.item(storage.KindGrant, bad.ID)
	it := s.item(storage.KindGrant, bad.ID)
	it.Sealed[20] ^= 1
	s.replace(it, nil)
	if _, err := s.BeginKeyRotation(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r, err := s.ResealPass(t.Context(), nothing)
		if err != nil || r.Done || !strings.Contains(r.Why, "grant "+bad.ID) {
			t.Fatalf("with a damaged record: %+v, error %v", r, err)
		}
	}
	// Somebody mends it: with the key that was kept it opens.
	s.replace(whole, nil)
	passes(t, s.Store)
	if _, err := s.Grant(t.Context(), bad.ID); err != nil {
		t.Errorf("the mended grant: %v", err)
	}
}

func TestASettlementInTheSpillFileKeepsItsKey(t *testing.T) {
	cfg := spilling(t)
	s := openStore(t, cfg)
	slot := reserve(t, s)
	if err := slot.Keep(rotation("a-1")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.BeginKeyRotation(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r, err := s.ResealPass(t.Context(), nothing)
		if err != nil || r.Done || !strings.Contains(r.Why, "1 slots of the spill file") {
			t.Fatalf("with a settlement under the old key: %+v, error %v", r, err)
		}
	}
	// A slot that the new key has written is in nobody's way.
	if err := errors.Join(slot.Clear(), reserve(t, s).Keep(rotation("a-2"))); err != nil {
		t.Fatal(err)
	}
	passes(t, s)
}

// Somebody who asks for a rotation while a pass of one goes on waits for neither
// the pass nor its end, however long it takes.
func TestAskingForARotationWaitsForNoPass(t *testing.T) {
	cfg := testConfig(t)
	cfg.Backend = memstore.New().Opener()
	s := openStore(t, cfg)
	fill(t, s)
	begun, err := s.BeginKeyRotation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		r   storage.KeyRotation
		err error
	}
	asked := false
	_, err = s.ResealPass(t.Context(), func(storage.ResealProgress) error {
		if asked {
			return nil
		}
		asked = true
		again := make(chan answer, 1)
		go func() {
			r, err := s.BeginKeyRotation(context.Background())
			again <- answer{r, err}
		}()
		select {
		case a := <-again:
			if a.err != nil || a.r != begun {
				t.Errorf("asked during a pass: %+v, error %v; want the one that runs", a.r, a.err)
			}
		case <-time.After(10 * time.Second):
			t.Error("asked during a pass: it waits for the pass")
		}
		return nil
	})
	if err != nil || !asked {
		t.Fatalf("asked %v, error %v", asked, err)
	}
	passes(t, s)
}
