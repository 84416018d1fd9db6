package broker_test

import (
	"testing"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/storage"
)

// RFC 9207: an answer that says another issuer, or none where one is expected,
// comes from elsewhere; its code must not be sent to the provider.
func TestAnAnswerOfAnotherProviderChangesNothing(t *testing.T) {
	const issuer = "https://auth.example"
	w := newWorld(t, func(w *world) { w.profile = func(p *atlassian.Profile) { p.Issuer = issuer } })
	l := w.link(jira)
	b := w.visit(l.URL, "")
	for _, iss := range []string{"", "https://evil.example", issuer + "/"} {
		cb := b.callback()
		cb.Issuer = iss
		if _, err := w.FinishConsent(ctx, cb); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
			t.Errorf("issuer %q: %v", iss, err)
		}
	}
	if s := w.status(l.ID); s != storage.ConsentAtProvider {
		t.Fatalf("the foreign answers changed the status to %s", s)
	}
	cb := b.callback()
	cb.Issuer = issuer
	if o, err := w.FinishConsent(ctx, cb); err != nil || o.Status != storage.ConsentDone || o.Account == "" {
		t.Fatalf("the right issuer: %+v, %v", o, err)
	}
}

// Somebody puts the code of an own consent into the callback of another: state
// and cookie are right, and the code was issued for another verifier (RFC 7636).
func TestACodeOfAnotherConsentGrantsNothing(t *testing.T) {
	w := newWorld(t)
	victim, thief := w.visit(w.link(jira).URL, ""), w.visit(w.link(mustAddress("acme/thief/jira")).URL, "")
	cb := victim.callback()
	cb.Code = thief.callback().Code
	o, err := w.FinishConsent(ctx, cb)
	if err != nil || o.Status == storage.ConsentDone {
		t.Fatalf("an injected code: %+v, %v", o, err)
	}
	if _, err := w.store.Grant(ctx, jira.GrantID()); err == nil {
		t.Fatal("an injected code made a grant")
	}
}
