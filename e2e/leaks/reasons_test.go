package leaks

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

// newStarvedWorld deploys on two small volumes, one for the store and one for the
// audit record, with limits that are soon reached.
func newStarvedWorld(t *testing.T) (w *world, store, record *rig.Volume) {
	t.Helper()
	store = rig.NewMemory(t, 200)
	record = store.Beside(t, 8)
	w = newWorldWith(t, "json", "", "", func(_ *scanner, s *rig.Setup) {
		s.StoreDir, s.Within = filepath.Join(store.Dir, "store"), store.Within()
		s.Audit = fmt.Sprintf("{file: %q}", filepath.Join(record.Dir, "audit.log"))
		s.More += fmt.Sprintf("limits: {waiting_calls_per_grant: 1, callers: [{name: %s, rate: 300, burst: 600}]}\n", integration)
	})
	return w, store, record
}

// The reasons that only a machine or a provider in trouble brings about, and the
// spill file with a token in it that could not be stored: each answer, and all
// that is left behind, is looked at.
func TestNoRefusalOfABrokerInTroubleHoldsASecret(t *testing.T) {
	t.Parallel()
	w, store, record := newStarvedWorld(t)
	w.serve()
	w.consent(w.jira)
	twins := `[{"id": "11111111-1111-1111-1111-111111111111", "url": "https://twin.atlassian.net", "name": "one", "scopes": ["read:confluence-content.all"]},
		{"id": "22222222-2222-2222-2222-222222222222", "url": "https://twin.atlassian.net", "name": "two", "scopes": ["read:confluence-content.all"]}]`
	w.tap.sites.Store(&twins)
	w.consent(w.wiki)
	w.tap.sites.Store(nil)
	c := w.callers()

	reasons := []string{w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.wiki.Grant(subject), Site: "https://twin.atlassian.net"})}
	reasons = append(reasons, w.tooMany(c)...)
	reasons = append(reasons, w.waited(c)...)
	reasons = append(reasons, w.spilled(c, store)...)
	reasons = append(reasons, w.unrecorded(c, record)...)
	reasons = append(reasons, w.quarantined(c, store)...)
	w.server.Stop(t)
	w.look("the log", []byte(w.server.Output()))
	w.lookAtFilesIn(filepath.Join(store.Root(), "store"))
	text, err := os.ReadFile(filepath.Join(record.Root(), "audit.log"))
	if err != nil || !bytes.Contains(text, []byte(handOut)) {
		t.Errorf("the audit record has no hand-out: %v", err)
	}
	w.look("the audit record", text)
	w.wants(reasons, "SITE_AMBIGUOUS", "CALLER_RATE_LIMITED", "REFRESH_IN_PROGRESS", "STORE_UNAVAILABLE", "AUDIT_UNAVAILABLE", "GRANT_QUARANTINED")
}

// tooMany asks for pages until a limit says no, and once more until it lets in again.
func (w *world) tooMany(c callers) (reasons []string) {
	w.t.Helper()
	ask := func() string {
		reason := w.do(c, integration, "ListMyGrants", &holdfastv1.ListMyGrantsRequest{})
		reasons = append(reasons, reason)
		return reason
	}
	rig.Until(w.t, "a caller is beyond its rate", func() bool { return ask() != "" })
	rig.Until(w.t, "it is let in again", func() bool { return ask() == "" })
	return reasons
}

// waited lets more calls wait for a slow refresh than may.
func (w *world) waited(c callers) (reasons []string) {
	w.t.Helper()
	w.sim.Fault(w.t, atlassiansim.Fault{Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "1", Count: 1})
	w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)})
	w.sim.Heal(w.t)
	w.sim.Fault(w.t, atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 2000, Count: 1})
	defer w.sim.Heal(w.t)
	draw := &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)}
	rig.Until(w.t, "the token has run out, and more calls wait than may", func() bool {
		var mu sync.Mutex // guards reasons
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				reason := w.do(c, integration, "GetAccessToken", draw)
				mu.Lock()
				defer mu.Unlock()
				reasons = append(reasons, reason)
			})
		}
		all.Wait()
		return strings.Contains(strings.Join(reasons, " "), "REFRESH_IN_PROGRESS")
	})
	return reasons
}

// spilled fills the disk in the middle of a refresh: its outcome goes to the spill
// file, and lies there when the process dies.
func (w *world) spilled(c callers, store *rig.Volume) (reasons []string) {
	w.t.Helper()
	rotated := func() int { return w.sim.Ledger(w.t).Counts.Rotated }
	w.sim.Fault(w.t, atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 1500, Count: 1})
	before := rotated()
	ended := make(chan error, 1)
	go func() {
		_, err := w.Admin.ForceRefresh(context.WithoutCancel(w.t.Context()), &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)})
		ended <- err
	}()
	rig.Until(w.t, "the provider has rotated", func() bool { return rotated() > before })
	store.Fill(w.t)
	rig.Until(w.t, "readiness is red", func() bool {
		ready, why := w.server.Ready(w.t)
		w.look("/readyz with a full disk", []byte(why))
		return !ready
	})
	spill := filepath.Join(store.Root(), "store", storage.SpillName)
	rig.Until(w.t, "the outcome is in the spill file", func() bool {
		text, err := os.ReadFile(spill)
		if err != nil {
			w.t.Fatal(err)
		}
		return len(bytes.ReplaceAll(text, []byte{0}, nil)) > 500 // preallocated as zeros
	})
	reasons = append(reasons,
		w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.wiki.Grant(subject)}),
		w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.wiki.Grant(subject)}),
		w.do(c, operator, "GetStatus", &holdfastv1.GetStatusRequest{}))
	w.metrics()
	w.server.Kill(w.t)
	w.refusal("ForceRefresh of a broker that dies with a full disk", <-ended)
	w.look("the log of a broker with a full disk", []byte(w.server.Output()))
	w.lookAtFilesIn(filepath.Join(store.Root(), "store"))
	store.Free(w.t)
	w.serve()
	return reasons
}

// unrecorded fills the disk of the audit record alone.
func (w *world) unrecorded(c callers, record *rig.Volume) (reasons []string) {
	w.t.Helper()
	record.Fill(w.t)
	rig.Until(w.t, "a call is refused, since it can not be recorded", func() bool {
		reason := w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)})
		reasons = append(reasons, reason)
		return reason == "AUDIT_UNAVAILABLE"
	})
	record.Free(w.t)
	rig.Until(w.t, "the record is written again", func() bool {
		return w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)}) == ""
	})
	return reasons
}

// quarantined takes the store's witness away, and settles what that is found to be.
func (w *world) quarantined(c callers, store *rig.Volume) (reasons []string) {
	w.t.Helper()
	w.server.Stop(w.t)
	w.look("the log", []byte(w.server.Output()))
	if err := os.Remove(filepath.Join(store.Root(), "store.witness")); err != nil {
		w.t.Fatal(err)
	}
	w.serve()
	reasons = append(reasons,
		w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)}),
		w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)}),
		w.do(c, operator, "GetStatus", &holdfastv1.GetStatusRequest{}))
	for _, dry := range []bool{true, false} {
		w.do(c, operator, "AdoptGrants", &holdfastv1.AdoptGrantsRequest{Mode: holdfastv1.AdoptMode_ADOPT_MODE_SCRUB, DryRun: dry})
	}
	reasons = append(reasons, w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)}))
	return reasons
}

// A panic has a value that may be a secret, and comes while the code has tokens and
// codes in its hands: its caller gets a fixed sentence, and the log where it was.
func TestAPanicGivesNothingAway(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		point string
		// page: a person's browser meets it; otherwise a caller of ForceRefresh does.
		page bool
	}{
		{crashpoint.SpendAnswered, false}, {crashpoint.ExchangeAnswered, true},
	} {
		t.Run(row.point, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, "text", "", "", func(_ *scanner, s *rig.Setup) { s.Build = rig.Build{Plain: true, Tags: "crashpoints"} })
			value := w.canary(panicValue)
			w.serve()
			w.consent(w.jira)
			w.server.Stop(t)
			w.server = w.Serve(t, "HOLDFAST_PANICPOINT="+row.point, "HOLDFAST_PANIC="+value)
			c := w.callers()
			if row.page {
				v := w.toProvider(w.wiki)
				if resp, _ := v.finish(); resp.StatusCode < 500 {
					t.Errorf("the page of a panic: %s", resp.Status)
				}
			} else {
				w.wants([]string{w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)})}, "INTERNAL")
			}
			// It was one call's fault: the others are served.
			if reason := w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)}); reason != "" {
				t.Errorf("after the panic a valid token is refused: %s", reason)
			}
			w.metrics()
			w.server.Signal(t, quit)
			if err := w.server.Ended(t); err == nil {
				t.Error("SIGQUIT did not end the broker")
			}
			if log := w.server.Output(); strings.Count(log, "panic") == 0 || !strings.Contains(log, "crashpoint.At") {
				t.Error("the log says nothing of a panic, or not where it was; the test has nothing to look at")
			}
			w.look("the log with a panic", []byte(w.server.Output()))
			w.lookAtFiles()
		})
	}
}
