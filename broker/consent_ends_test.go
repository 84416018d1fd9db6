package broker_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/storage"
)

// narrow consents to reading only, and returns the link that a caller gets who
// needs to write.
func (w *world) narrow(a storage.Address) string {
	w.t.Helper()
	if o := w.visit(w.linkFor(a, "read:jira-work").URL, "").finish(); o.Status != storage.ConsentDone {
		w.t.Fatal(o.Status)
	}
	_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: a, RequiredScopes: []string{"write:jira-work"}})
	e, ok := errors.AsType[*broker.Error](err)
	if !ok || e.Metadata["link"] == "" {
		w.t.Fatalf("got %v, want a refusal with a link", err)
	}
	return e.Metadata["link"]
}

func TestAnExpiredConsentDoesNotComeBack(t *testing.T) {
	w := newWorld(t)
	l := w.link(jira)
	b := w.visit(l.URL, "")
	w.clock.Advance(16 * time.Minute) // the link itself is still good
	if s := w.status(l.ID); s != storage.ConsentExpired {
		t.Fatalf("status %s", s)
	}
	if _, err := w.BeginConsent(ctx, linkText(l.URL)); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
		t.Errorf("got %v, want INVALID_REQUEST", err)
	}
	if s := w.status(l.ID); s != storage.ConsentExpired {
		t.Errorf("who follows it saw EXPIRED and then %s", s)
	}
	if o := b.finish(); o.Status != storage.ConsentExpired {
		t.Errorf("the late callback: %s", o.Status)
	}
}

func TestAPairInHandSurvivesAStoreThatFailsWhileItIsAdopted(t *testing.T) {
	for name, fail := range map[string]error{
		"unavailable": storage.ErrUnavailable, "conflict": storage.ErrConflict, "unknown": storage.ErrUnknown, "anything else": errors.New("disk hiccup"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.visit(w.link(jira).URL, "")
			swaps := 0
			w.backend.onSwap(func([]storage.Change) error {
				if swaps++; swaps == 2 || swaps == 3 { // the announcement passes, the adoption fails twice
					return fail
				}
				return nil
			})
			if o := b.finish(); o.Status != storage.ConsentDone || swaps != 4 {
				t.Fatalf("status %s after %d swaps", o.Status, swaps)
			}
			if answer := w.token(jira); !w.works(answer) || answer.Generation != 1 {
				t.Fatalf("generation %d does not work", answer.Generation)
			}
		})
	}
}

func TestAnAdoptionThatWasCommittedUnseenIsRecognised(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	b := w.visit(w.link(jira).URL, "")
	swaps := 0
	w.backend.onSwap(func(c []storage.Change) error {
		if swaps++; swaps != 2 {
			return nil
		}
		if err := w.backend.Backend.Swap(ctx, c, nil); err != nil {
			t.Error(err)
		}
		return storage.ErrUnknown
	})
	if o := b.finish(); o.Status != storage.ConsentDone || swaps != 2 {
		t.Fatalf("status %s after %d swaps", o.Status, swaps)
	}
	if answer := w.token(jira); answer.Generation != 2 || !w.works(answer) {
		t.Fatalf("generation %d is served, want the new family", answer.Generation)
	}
}

func TestAConsentDuringASecretRotationTakesTheOtherSecret(t *testing.T) {
	for _, row := range []struct {
		secrets []string
		want    storage.ConsentStatus
		posts   int
	}{
		{[]string{"rotated-away", "secret-jira"}, storage.ConsentDone, 2},
		{[]string{"rotated-away", "mistyped"}, storage.ConsentMisconfigured, 2},
	} {
		w := newWorld(t)
		w.setSecrets("jira", row.secrets...)
		b := w.visit(w.link(jira).URL, "")
		posts := w.sim.Ledger().TokenPosts
		o := b.finish()
		if got := w.sim.Ledger().TokenPosts - posts; o.Status != row.want || got != row.posts {
			t.Errorf("%v: %s (%s) after %d POSTs, want %s after %d", row.secrets, o.Status, o.Detail, got, row.want, row.posts)
		}
	}
}

func TestEveryEndOfAConsentIsAudited(t *testing.T) {
	account := atlassiansim.DefaultAccounts()
	for _, row := range []struct {
		name       string
		scopes     []string
		extra      string
		decide     func(*browser)
		want       storage.ConsentStatus
		generation any
	}{
		{"done", nil, "", nil, storage.ConsentDone, 2.0},
		{"denied", nil, "&sim_consent=deny", nil, storage.ConsentDenied, nil},
		{"another account", nil, "&sim_account=" + url.QueryEscape(account[1].ID), nil, storage.ConsentWrongAccount, nil},
		{"a loss accepted", []string{"read:jira-work"}, "", func(b *browser) { b.confirm() }, storage.ConsentDone, 2.0},
		{"a loss declined", []string{"read:jira-work"}, "", func(b *browser) {
			if _, err := b.w.ConfirmConsent(ctx, b.start.ConsentID, b.start.Cookie, false); err != nil {
				b.w.t.Fatal(err)
			}
		}, storage.ConsentDiscarded, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.consent(jira)
			b := w.visit(w.linkFor(jira, row.scopes...).URL, row.extra)
			before := len(w.auditLines())
			b.finish()
			if row.decide != nil {
				row.decide(b)
			}
			b.finish() // a reload is no second end
			lines := w.auditLines()[before:]
			if len(lines) != 1 {
				t.Fatalf("%d lines: %v", len(lines), lines)
			}
			got := make(map[string]any)
			for _, field := range []string{"caller", "method", "grant", "grant_id", "outcome", "generation"} {
				got[field] = lines[0][field]
			}
			want := map[string]any{"caller": "op", "method": "consent page", "grant": "acme/automation/jira",
				"grant_id": jira.GrantID(), "outcome": string(row.want), "generation": row.generation}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestAFamilyReplacedByWayOfAnErrorsLinkIsAuditedUnderWhoeverGotTheLink(t *testing.T) {
	w := newWorld(t)
	link := w.narrow(jira)
	before := len(w.auditLines())
	w.visit(link, "").finish()
	lines := w.auditLines()[before:]
	if len(lines) != 1 || lines[0]["caller"] != "svc" || lines[0]["outcome"] != string(storage.ConsentDone) {
		t.Fatalf("got %v", lines)
	}
}
