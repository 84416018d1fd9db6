package rig

import (
	"testing"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Until asks done again and again until it says true; what names it in a failure.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline, again := time.After(Patience), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Show returns the grant and its newest events, newest first, as an operator sees them.
func (d *Deployment) Show(t testing.TB, a App, subject string) (*holdfastv1.Grant, []*holdfastv1.GrantEvent) {
	t.Helper()
	got, err := d.Admin.GetGrant(t.Context(), &holdfastv1.GetGrantRequest{Grant: a.Grant(subject)})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetGrant(), got.GetEvents()
}

// Rotate forces a rotation.
func (d *Deployment) Rotate(t testing.TB, a App, subject string) *holdfastv1.Grant {
	t.Helper()
	got, err := d.Admin.ForceRefresh(t.Context(), &holdfastv1.ForceRefreshRequest{Grant: a.Grant(subject)})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetGrant()
}

// LastTries returns the ids of the attempts that were announced as last tries.
func LastTries(events []*holdfastv1.GrantEvent) (ids []string) {
	for _, e := range events {
		if e.GetType() == holdfastv1.GrantEventType_GRANT_EVENT_TYPE_ANNOUNCED && e.GetDetail() == "last_try" {
			ids = append(ids, e.GetAttemptId())
		}
	}
	return ids
}

// Has reports whether the journal has an entry of that type.
func Has(events []*holdfastv1.GrantEvent, want holdfastv1.GrantEventType) bool {
	for _, e := range events {
		if e.GetType() == want {
			return true
		}
	}
	return false
}
