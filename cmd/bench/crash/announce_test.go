package crash

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
)

// A process that dies with the request on its way has left the attempt in its
// store: who comes after it can count the leeway from it. Inside the leeway a
// kill alone would not show if it were missing.
func TestWhatWasSentHadBeenAnnounced(t *testing.T) {
	t.Parallel()
	l := &leg{name: "announced", binaries: build(t), log: testLog{t}, grants: newGrants(1), kills: map[string]int{}}
	if err := l.open(t.Context(), filepath.Join(t.TempDir(), "broker"), nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := l.seedGrants(t.Context()); err != nil {
		t.Fatal(err)
	}
	under := l.startLoad(t.Context())
	err := l.die(t.Context(), death{point: crashpoint.SpendWritten, nth: 1}, under)
	under.stop()
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(l.path("serve.log")))
	}
	g, events := l.stored(t, l.grants[0])
	if g.State.Attempt == nil && g.State.Doubt == nil {
		t.Errorf("the store knows of no attempt of generation %d, whose token was sent", g.State.Generation)
	}
	announced := 0
	for _, e := range events {
		if e.Type == family.EventAnnounced {
			announced++
		}
	}
	ledger, err := l.sim.ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, f := range ledger.Families {
		for _, e := range f.Exchanges {
			if e.GrantType == "refresh_token" {
				sent++
			}
		}
	}
	if announced == 0 || announced < sent {
		t.Errorf("%d spends were announced and %d sent", announced, sent)
	}
}

// stored reads a grant and its journal out of the store of a broker that is dead.
func (l *leg) stored(t *testing.T, of *grant) (storage.Grant, []family.Event) {
	t.Helper()
	c, _, err := config.Load(l.path("holdfast.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := node.OpenStore(t.Context(), c, node.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	a := storage.Address{Tenant: of.address.GetTenant(), Subject: of.address.GetSubject(), Product: of.address.GetProduct(), Name: storage.DefaultName}
	g, err := store.Grant(t.Context(), a.GrantID())
	if err != nil {
		t.Fatal(err)
	}
	events, err := store.Events(t.Context(), g.ID, storage.JournalLength)
	if err != nil {
		t.Fatal(err)
	}
	return g, events
}
