package broker_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// TestAnOutageOfHoursLosesNoFamily: the provider goes away in the middle of one
// exchange, cannot be reached for six hours, and comes back. Services go on
// asking all the time; no person does anything.
func TestAnOutageOfHoursLosesNoFamily(t *testing.T) {
	w := newWorld(t)
	caught := mustAddress("acme/caught/jira")
	// Of an account of its own: a last try must endanger no other family.
	w.visit(w.link(caught).URL, "&sim_account="+atlassiansim.DefaultAccounts()[1].ID).finish()
	as := append([]storage.Address{caught}, w.consentMany(12)...)

	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, KeepToken: true, Count: 1})
	w.refused(caught, "PROVIDER_UNAVAILABLE")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.simURL = "http://" + gone.Addr().String()
	gone.Close()
	w.clock.Advance(time.Minute)
	w.startBroker()
	posts := w.sim.Posts()
	for range 6 * 12 {
		w.clock.Advance(5 * time.Minute)
		w.Sweep(ctx)
		if served := w.drawInTurn(as); served != 0 {
			t.Fatalf("%d grants are served expired tokens", served)
		}
	}
	if _, doubt := w.announced(as); doubt != 1 || w.phases()[family.Active] != len(as) {
		t.Fatalf("after 6 hours %d are in doubt and the phases are %v, want 1 and all active", doubt, w.phases())
	}
	if now := w.sim.Posts(); now != posts {
		t.Fatalf("%d requests came through to a provider that cannot be reached", now-posts)
	}

	w.serveAt(gone.Addr().String(), func(http.ResponseWriter, *http.Request) bool { return false })
	served := 0
	for range 60 { // ten minutes
		w.clock.Advance(10 * time.Second)
		w.Sweep(ctx)
		if served = w.drawInTurn(as); served == len(as) {
			break
		}
	}
	if served != len(as) {
		t.Fatalf("%d of %d are served after the outage", served, len(as))
	}
	for _, a := range as {
		if !w.works(w.token(a)) {
			t.Errorf("the provider does not take the token of %s", a)
		}
	}
	w.neverLate()
}
