package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// patience is how long a test on the real clock waits for what must come at once.
const patience = 20 * time.Second

// watchRecords are the records of WatchAccessToken, each in a line.
func (w *world) watchRecords() (out []string) {
	for _, line := range w.auditLines() {
		if line["method"] == "WatchAccessToken" {
			out = append(out, fmt.Sprint(line["caller"], " ", line["grant"], " ", line["purpose"], " ", line["outcome"], " ", line["fingerprint"] != nil, " ", line["rule"]))
		}
	}
	return out
}

func TestEachPushIsDecidedAndRecordedAnew(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	s := watch(t, w, func(r *broker.TokenRequest) { r.Purpose = "nightly" })
	s.wants(patience, "1")
	w.forceRefresh()
	s.wants(patience, "2")
	w.revoke()
	s.wants(patience, "GRANT_REVOKED")
	s.cancel()
	want := []string{
		"svc acme/automation/jira nightly ok true callers[svc]",
		"svc acme/automation/jira nightly ok true callers[svc]",
		"svc acme/automation/jira nightly GRANT_REVOKED false callers[svc]",
	}
	if diff := cmp.Diff(want, w.watchRecords()); diff != "" {
		t.Error(diff)
	}
}

func TestAPolicyThatForbidsEndsAWatchAndOneThatDoesNotHasItGoOn(t *testing.T) {
	const all = `@id("op") permit (principal == Caller::"op", action, resource);`
	w := newWorld(t)
	w.consent(jira)
	s := watch(t, w)
	s.wants(patience, "1")
	w.govern(all)
	w.forceRefresh()
	s.wants(patience, "2") // and nothing for the policy's sake
	w.govern(all + `@id("never") forbid (principal == Caller::"svc", action, resource);`)
	s.wants(patience, "ended CALLER_NOT_ALLOWED")
	want := []string{"ok", "ok", "CALLER_NOT_ALLOWED"}
	var got []string
	for _, line := range w.auditLines() {
		if line["method"] == "WatchAccessToken" {
			got = append(got, fmt.Sprint(line["outcome"]))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsPushedThatCanNotBeRecorded(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	s := watch(t, w)
	s.wants(patience, "1")
	w.clock.Advance(2 * time.Hour)
	if err := w.cfg.Audit.Close(); err != nil {
		t.Fatal(err)
	}
	w.refused(jira, broker.ReasonAuditUnavailable) // but it was refreshed for it
	if g := w.grant(jira).State.Generation; g != 2 {
		t.Fatalf("it is of generation %d", g)
	}
	s.wants(patience, "AUDIT_UNAVAILABLE")
	s.wants(4*time.Second, "nothing") // it is tried again meanwhile
	watch(t, w).wants(patience, "AUDIT_UNAVAILABLE")
}

func TestARejectedTokenIsReplacedForWhoWatches(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	s := watch(t, w)
	s.wants(patience, "1")
	if _, err := w.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 401, Endpoint: atlassiansim.EndpointResources, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReportRejected(ctx, svc, broker.RejectionReport{Address: jira, Generation: 1, HTTPStatus: 401}); err != nil {
		t.Fatal(err)
	}
	s.wants(patience, "2")
}
