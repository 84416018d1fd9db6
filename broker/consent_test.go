package broker_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

func (w *world) link(a storage.Address) *broker.ConsentLink {
	w.t.Helper()
	l, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: a})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) status(id string) storage.ConsentStatus {
	w.t.Helper()
	info, err := w.Consent(ctx, op, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Status
}

// absent fails the test if the grant exists: no failed consent leaves a half-made one.
func (w *world) absent(a storage.Address) {
	w.t.Helper()
	if _, err := w.store.Grant(ctx, a.GrantID()); !errors.Is(err, storage.ErrNotFound) {
		w.t.Fatalf("a grant at %s was left behind (%v)", a, err)
	}
}

func TestAConsentIsFollowedFromLinkToGrant(t *testing.T) {
	w := newWorld(t)
	l := w.link(jira)
	if s := w.status(l.ID); s != storage.ConsentPending {
		t.Fatalf("status %s", s)
	}
	text := l.URL[strings.LastIndex(l.URL, "/")+1:]
	view, err := w.ConnectPage(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	if view.Tenant != "acme" || view.Subject != "automation" || view.ProductName != "Jira" || !slices.Contains(view.Scopes, "offline_access") || view.Reconsent {
		t.Fatalf("the page would say %+v", view)
	}
	b := w.visit(l.URL, "")
	if s := w.status(l.ID); s != storage.ConsentAtProvider {
		t.Fatalf("status %s", s)
	}
	if o := b.finish(); o.Status != storage.ConsentDone || len(o.Sites) != 1 {
		t.Fatalf("got %+v", o)
	}
	info, err := w.Consent(ctx, op, l.ID)
	if err != nil || info.Status != storage.ConsentDone || info.GrantID != jira.GrantID() {
		t.Fatalf("got %+v, %v", info, err)
	}
}

func TestTheCodeIsExchangedOnceHoweverOftenTheBrowserReloads(t *testing.T) {
	w := newWorld(t)
	b := w.visit(w.link(jira).URL, "")
	posts := w.sim.Ledger().TokenPosts
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := w.FinishConsent(ctx, b.callback()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if o := b.finish(); o.Status != storage.ConsentDone {
		t.Fatalf("after a reload: %s", o.Status)
	}
	if got := w.sim.Ledger().TokenPosts - posts; got != 1 {
		t.Fatalf("the code was sent %d times", got)
	}
}

func TestACallbackThatLosesTheRaceToAnnounceExchangesNothing(t *testing.T) {
	w := newWorld(t)
	b := w.visit(w.link(jira).URL, "")
	posts := w.sim.Ledger().TokenPosts
	w.backend.onSwap(func([]storage.Change) error { return storage.ErrConflict })
	if o := b.finish(); o.Status != storage.ConsentAtProvider || w.sim.Ledger().TokenPosts != posts {
		t.Fatalf("status %s, %d POSTs", o.Status, w.sim.Ledger().TokenPosts-posts)
	}
	w.backend.onSwap(nil)
	if o := b.finish(); o.Status != storage.ConsentDone {
		t.Fatalf("status %s", o.Status)
	}
}

func TestAnotherBrowserOrAnotherStateChangesNothing(t *testing.T) {
	w := newWorld(t)
	l := w.link(jira)
	b := w.visit(l.URL, "")
	foreign := b.callback()
	foreign.Cookie = func(string) secret.String { return secret.String{} }
	if _, err := w.FinishConsent(ctx, foreign); broker.ReasonOf(err) != broker.ReasonCallerUnauthenticated {
		t.Fatalf("no cookie: %v", err)
	}
	foreign.Cookie = func(string) secret.String { return secret.New("guess") }
	if _, err := w.FinishConsent(ctx, foreign); broker.ReasonOf(err) != broker.ReasonCallerUnauthenticated {
		t.Fatalf("another cookie: %v", err)
	}
	forged := b.callback()
	forged.State = b.start.ConsentID + ".forged"
	if _, err := w.FinishConsent(ctx, forged); broker.ReasonOf(err) != broker.ReasonGrantNotFound {
		t.Fatalf("a forged state: %v", err)
	}
	forged.State = "cns_unknown.x"
	if _, err := w.FinishConsent(ctx, forged); broker.ReasonOf(err) != broker.ReasonGrantNotFound {
		t.Fatalf("an unknown state: %v", err)
	}
	if s := w.status(l.ID); s != storage.ConsentAtProvider {
		t.Fatalf("the attempts changed the status to %s", s)
	}
	// Pressing continue again makes a new state; the old one is worth nothing.
	newer := w.visit(l.URL, "")
	old := b.callback()
	old.Cookie = newer.callback().Cookie
	if _, err := w.FinishConsent(ctx, old); broker.ReasonOf(err) != broker.ReasonGrantNotFound {
		t.Fatalf("the older state: %v", err)
	}
	if o := newer.finish(); o.Status != storage.ConsentDone {
		t.Fatalf("the rightful browser: %s", o.Status)
	}
	if _, err := w.BeginConsent(ctx, l.URL[strings.LastIndex(l.URL, "/")+1:]); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
		t.Fatalf("a used link: %v", err)
	}
}

func TestEveryFailedConsentHasItsOwnStatusAndLeavesNoGrant(t *testing.T) {
	token := func(f atlassiansim.Fault) func(*world) {
		return func(w *world) {
			f.GrantType = "authorization_code"
			if _, err := w.sim.AddFault(f); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for _, row := range []struct {
		name  string
		extra string
		do    func(*world)
		want  storage.ConsentStatus
	}{
		{"denied", "&sim_consent=deny", nil, storage.ConsentDenied},
		{"expired", "", func(w *world) { w.clock.Advance(16 * time.Minute) }, storage.ConsentExpired},
		{"answer without a refresh token", "", token(atlassiansim.Fault{Kind: atlassiansim.FaultNoRefreshToken}), storage.ConsentNoOfflineAccess},
		{"code late", "", func(w *world) { _ = w.sim.Advance(14 * time.Minute) }, storage.ConsentCodeRefused},
		{"answer lost", "", token(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer}), storage.ConsentExchangeInDoubt},
		{"rate limited", "", token(atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit}), storage.ConsentProviderError},
		{"wrong client secret", "", func(w *world) { w.setSecrets("jira", "wrong") }, storage.ConsentMisconfigured},
		{"scopes missing", "", func(w *world) { w.scope.Store(new("read:jira-work read:me")) }, storage.ConsentMissingScopes},
		{"another product's scopes", "", func(w *world) { w.scope.Store(new("read:confluence-content.all read:me")) }, storage.ConsentWrongProduct},
		{"no site", "", func(w *world) { _ = w.sim.SetBehaviour(func(b *atlassiansim.Behaviour) { b.Resources = "empty" }) }, storage.ConsentWrongProduct},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			l := w.link(jira)
			b := w.visit(l.URL, row.extra)
			if row.do != nil {
				row.do(w)
			}
			if o := b.finish(); o.Status != row.want {
				t.Fatalf("page %s (%s), want %s", o.Status, o.Detail, row.want)
			}
			if s := w.status(l.ID); s != row.want {
				t.Fatalf("GetConsent %s, want %s", s, row.want)
			}
			w.absent(jira)
		})
	}
}

func TestAnotherAccountCanNotTakeAGrantOver(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	before := w.token(jira)
	other := atlassiansim.DefaultAccounts()[1].ID
	if o := w.visit(w.link(jira).URL, "&sim_account="+url.QueryEscape(other)).finish(); o.Status != storage.ConsentWrongAccount {
		t.Fatalf("got %s", o.Status)
	}
	if after := w.token(jira); !after.Token.Equal(before.Token) {
		t.Fatal("the grant was changed")
	}
}

func TestAConsentThatWouldLoseScopesWaitsForAPerson(t *testing.T) {
	for _, accept := range []bool{true, false} {
		w := newWorld(t)
		w.consent(jira)
		l, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: jira, Scopes: []string{"read:jira-work"}})
		if err != nil {
			t.Fatal(err)
		}
		b := w.visit(l.URL, "")
		o := b.finish()
		if o.Status != storage.ConsentConfirm || !slices.Equal(o.LostScopes, []string{"write:jira-work"}) {
			t.Fatalf("got %+v", o)
		}
		if g := w.token(jira).Generation; g != 1 {
			t.Fatalf("the new family was swapped in unconfirmed: generation %d", g)
		}
		if _, err := w.ConfirmConsent(ctx, l.ID, secret.New("other browser"), true); broker.ReasonOf(err) != broker.ReasonCallerUnauthenticated {
			t.Fatalf("another browser confirmed: %v", err)
		}
		o, err = w.ConfirmConsent(ctx, l.ID, b.start.Cookie, accept)
		if err != nil {
			t.Fatal(err)
		}
		want, generation := storage.ConsentDone, uint64(2)
		if !accept {
			want, generation = storage.ConsentDiscarded, 1
		}
		if o.Status != want || w.token(jira).Generation != generation {
			t.Fatalf("accept %v: status %s, generation %d", accept, o.Status, w.token(jira).Generation)
		}
	}
}

func TestJiraAndConfluenceAreSeparateFamilies(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.consent(wiki)
	w.clock.Advance(2 * time.Hour)
	if a, b := w.token(jira), w.token(wiki); a.Token.Equal(b.Token) || a.Generation != 2 || b.Generation != 2 {
		t.Fatal("the products share a family")
	}
	if _, err := w.Revoke(ctx, op, "", jira, "test"); err != nil {
		t.Fatal(err)
	}
	w.refused(jira, broker.ReasonGrantRevoked)
	w.token(wiki)
}

func TestASharedAppAsksForTheUnionAndSaysWhatItRisks(t *testing.T) {
	w := newWorld(t, sharedApp)
	w.consent(jira)
	l := w.link(wiki)
	if !slices.Contains(l.Scopes, "read:jira-work") || !slices.Contains(l.Scopes, "read:confluence-content.all") {
		t.Fatalf("asks for %v", l.Scopes)
	}
	if !strings.Contains(l.Warning, "shared") {
		t.Fatalf("warning %q", l.Warning)
	}
	if o := w.visit(l.URL, "").finish(); o.Status != storage.ConsentDone {
		t.Fatalf("got %s: %s", o.Status, o.Detail)
	}
	w.token(jira)
	w.token(wiki)
}

func TestAScopeThatShrinksAtARefreshIsSeen(t *testing.T) {
	w := newWorld(t, sharedApp)
	w.consent(jira)
	w.scope.Store(new("read:confluence-content.all read:me"))
	w.clock.Advance(2 * time.Hour)
	w.token(jira)
	_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, RequiredScopes: []string{"read:jira-work"}})
	if broker.ReasonOf(err) != broker.ReasonScopeNotGranted {
		t.Fatalf("got %v", err)
	}
	_, events, err := w.Grant(ctx, op, "", jira)
	if err != nil || !slices.ContainsFunc(events, func(e family.Event) bool {
		return e.Type == family.EventScopesChanged && strings.Contains(e.Detail, "read:jira-work")
	}) {
		t.Fatalf("events %+v, %v", events, err)
	}
}

func TestOfSeveralAppsTheDefaultIsTaken(t *testing.T) {
	w := newWorld(t, func(w *world) {
		second := w.cfg.Apps[0]
		second.ID, second.ClientID, second.Default = "second", "client-second", true
		w.cfg.Apps = append(w.cfg.Apps, second)
	})
	for asked, want := range map[string]string{"": "second", "jira": "jira"} {
		l, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: jira, App: asked})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := w.Consent(ctx, op, l.ID); err != nil || info.App != want {
			t.Errorf("asked for %q: got %+v, %v", asked, info, err)
		}
	}
	if _, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: jira, App: "confluence"}); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
		t.Errorf("another product's app: %v", err)
	}
}

func TestLinksAreSignedAndExpire(t *testing.T) {
	w := newWorld(t)
	l := w.link(jira)
	text := l.URL[strings.LastIndex(l.URL, "/")+1:]
	for name, bad := range map[string]string{"flipped": "A" + text[1:], "cut": text[:len(text)-3], "no signature": strings.Split(text, ".")[0], "empty": ""} {
		if _, err := w.ConnectPage(ctx, bad); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.clock.Advance(31 * time.Minute)
	if _, err := w.BeginConsent(ctx, text); broker.ReasonOf(err) != broker.ReasonInvalidRequest || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired: %v", err)
	}
	if s := w.status(l.ID); s != storage.ConsentExpired {
		t.Errorf("status %s", s)
	}
}

func TestARevokedGrantTakesAConsentOnlyAfterReauth(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	early := w.visit(w.link(jira).URL, "")
	if _, err := w.Revoke(ctx, op, "", jira, "left the team"); err != nil {
		t.Fatal(err)
	}
	if o := early.finish(); o.Status != storage.ConsentSuperseded {
		t.Fatalf("a consent under way when the grant was revoked: %s", o.Status)
	}
	w.refusesConsent(jira)
	if _, err := w.Reauth(ctx, op, "", jira); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Revoke(ctx, op, "", jira, "changed my mind"); err != nil {
		t.Fatal(err)
	}
	w.refusesConsent(jira)
	l, err := w.Reauth(ctx, op, "", jira)
	if err != nil {
		t.Fatal(err)
	}
	if o := w.visit(l.URL, "").finish(); o.Status != storage.ConsentDone {
		t.Fatalf("got %s", o.Status)
	}
	if answer := w.token(jira); !w.works(answer) || answer.Generation != 2 {
		t.Fatalf("generation %d", answer.Generation)
	}
	g, err := w.store.Grant(ctx, jira.GrantID())
	if err != nil || g.ReauthAllowed || g.State.Phase != family.Active {
		t.Fatalf("got %+v, %v: the permission is for one consent", g, err)
	}
}

func (w *world) refusesConsent(a storage.Address) {
	w.t.Helper()
	if _, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: a}); broker.ReasonOf(err) != broker.ReasonGrantRevoked {
		w.t.Fatalf("got %v, want GRANT_REVOKED", err)
	}
}

func TestReturnURLsMustBeConfigured(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.ReturnOrigins = []string{"https://front.example"} })
	for u, ok := range map[string]bool{"https://front.example/done?x=1": true, "": true, "https://evil.example/": false, "https://front.example.evil/": false, "javascript:alert(1)": false} {
		_, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: jira, ReturnURL: u})
		if (err == nil) != ok {
			t.Errorf("%q: %v", u, err)
		}
	}
}
