package broker_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
)

// linkFor makes a link that asks for the scopes named.
func (w *world) linkFor(a storage.Address, scopes ...string) *broker.ConsentLink {
	w.t.Helper()
	l, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: a, Scopes: scopes})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// linkText is what the link's page is called with.
func linkText(url string) string { return url[strings.LastIndex(url, "/")+1:] }

// confirm accepts what a consent would lose.
func (b *browser) confirm() *broker.ConsentOutcome {
	b.w.t.Helper()
	o, err := b.w.ConfirmConsent(ctx, b.start.ConsentID, b.start.Cookie, true)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return o
}

func TestAConfirmationDoesNotReplaceAFamilyConsentedLater(t *testing.T) {
	const read, write, manage = "read:jira-work", "write:jira-work", "manage:jira-project"
	for _, row := range []struct {
		name  string
		first []string // the grant's first consent
		asks  []string // the consent that waits for a confirmation
		newer []string // consented while it waits
	}{
		{"with the same loss as was shown", []string{read, write}, []string{read}, []string{read, write}},
		{"which has more than was shown to be lost", []string{read, write}, []string{read}, []string{read, write, manage}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.cfg.Apps[0].Scopes = map[string][]string{"jira": {read, write, manage}} })
			w.visit(w.linkFor(jira, row.first...).URL, "").finish()
			older := w.visit(w.linkFor(jira, row.asks...).URL, "")
			if o := older.finish(); o.Status != storage.ConsentConfirm {
				t.Fatalf("status %s, want one that asks", o.Status)
			}
			w.clock.Advance(time.Minute)
			if o := w.visit(w.linkFor(jira, row.newer...).URL, "").finish(); o.Status != storage.ConsentDone {
				t.Fatalf("the newer consent: %s", o.Status)
			}
			before := w.token(jira)
			if o := older.confirm(); o.Status != storage.ConsentSuperseded {
				t.Errorf("the older consent ended %s", o.Status)
			}
			if after := w.token(jira); !after.Token.Equal(before.Token) {
				t.Errorf("the newer family, with %v, gave way to the older, with %v", before.Scopes, after.Scopes)
			}
		})
	}
}

func TestALossThatNobodyWasShownIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	b := w.visit(w.linkFor(jira, "read:jira-work").URL, "")
	if o := b.finish(); o.Status != storage.ConsentConfirm || len(o.LostSites) != 0 {
		t.Fatalf("got %+v", o)
	}
	// While the page waits, a lookup finds that the old family reaches a site more.
	g := w.grant(jira)
	g.Sites = append(g.Sites, storage.Site{CloudID: "added", URL: "https://added.atlassian.net"})
	if err := w.store.Swap(ctx, storage.Update{Grant: &g}); err != nil {
		t.Fatal(err)
	}
	o := b.confirm()
	if o.Status != storage.ConsentConfirm || len(o.LostSites) != 1 || o.LostSites[0].CloudID != "added" {
		t.Fatalf("got %+v, want the question again with the site", o)
	}
	if g := w.grant(jira).State.Generation; g != 1 {
		t.Fatalf("generation %d: what was not shown is lost", g)
	}
	if o := b.confirm(); o.Status != storage.ConsentDone {
		t.Fatalf("status %s", o.Status)
	}
}

func TestContinuePressedTwiceAtOnceIsNoError(t *testing.T) {
	w := newWorld(t)
	l := w.link(jira)
	// Both have read the record before either is stored.
	var mu sync.Mutex
	arrived, both := 0, make(chan struct{})
	w.backend.onSwap(func([]storage.Change) error {
		mu.Lock()
		if arrived++; arrived == 2 {
			close(both)
		}
		mu.Unlock()
		<-both
		return nil
	})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := w.BeginConsent(ctx, linkText(l.URL)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if o := w.visit(l.URL, "").finish(); o.Status != storage.ConsentDone {
		t.Fatalf("status %s", o.Status)
	}
}

func TestAnExchangesAnnouncementOfUnknownOutcomeIsResolvedByReading(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.visit(w.link(jira).URL, "")
			posts, first := w.sim.Ledger().TokenPosts, true
			w.backend.onSwap(func(c []storage.Change) error {
				if !first {
					return nil
				}
				first = false
				if committed {
					if err := w.backend.Backend.Swap(ctx, c, nil); err != nil {
						t.Error(err)
					}
				}
				return storage.ErrUnknown
			})
			_, err := w.FinishConsent(ctx, b.callback())
			if sent := w.sim.Ledger().TokenPosts - posts; (err == nil) != committed || (sent == 1) != committed {
				t.Fatalf("got %v with %d POSTs", err, sent)
			}
			// Nothing was sent without an announcement, so that a reload still does it.
			if o := b.finish(); o.Status != storage.ConsentDone || w.sim.Ledger().TokenPosts-posts != 1 {
				t.Fatalf("after a reload: %s, %d POSTs", o.Status, w.sim.Ledger().TokenPosts-posts)
			}
		})
	}
}

func TestAConsentBegunBeforeARevocationIsSupersededEvenAfterReauth(t *testing.T) {
	for name, begin := range map[string]func(*world) string{
		"a link of StartConsent": func(w *world) string { w.consent(jira); return w.link(jira).URL },
		"a link out of an error": func(w *world) string { return w.narrow(jira) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			early := begin(w)
			w.clock.Advance(time.Second)
			if _, err := w.Revoke(ctx, op, "", jira, "left the team"); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(time.Second)
			l, err := w.Reauth(ctx, op, "", jira)
			if err != nil {
				t.Fatal(err)
			}
			// The permission is for whom the operator sent the new link to.
			if o := w.visit(early, "").finish(); o.Status != storage.ConsentSuperseded {
				t.Fatalf("status %s", o.Status)
			}
			w.refused(jira, broker.ReasonGrantRevoked)
			if o := w.visit(l.URL, "").finish(); o.Status != storage.ConsentDone {
				t.Fatalf("the link of StartReauth: %s", o.Status)
			}
		})
	}
}

func TestClosingWaitsForAConsentsExchange(t *testing.T) {
	w := newWorld(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	w.front(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/me" && once.CompareAndSwap(false, true) {
			close(asked)
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
		}
		return false
	})
	b := w.visit(w.link(jira).URL, "")
	left, leave := context.WithCancel(ctx) // the person closes the tab
	ended := make(chan error, 1)
	go func() {
		_, err := w.FinishConsent(left, b.callback())
		ended <- err
	}()
	<-asked // the pair is in memory only
	leave()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.Close(gone); err == nil {
		t.Fatal("closed while a consent's pair was not stored")
	}
	close(goOn)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if g := w.grant(jira); g.State.Generation != 1 {
		t.Fatal("closed before the pair was stored")
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestALinkOutOfAnErrorAsksForTheUnionOfASharedApp(t *testing.T) {
	w := newWorld(t, sharedApp, func(w *world) { w.cfg.Apps[0].Scopes["jira"] = []string{"read:jira-work", "write:jira-work"} })
	u := w.narrow(jira)
	w.consent(wiki) // after the link was made
	view, err := w.ConnectPage(ctx, linkText(u))
	if err != nil || !slices.Contains(view.Scopes, "read:confluence-content.all") || !slices.Contains(view.Scopes, "write:jira-work") {
		t.Fatalf("the page says %+v, %v", view, err)
	}
	// Otherwise this consent would strip the Confluence family at the provider.
	if o := w.visit(u, "").finish(); o.Status != storage.ConsentDone {
		t.Fatalf("status %s", o.Status)
	}
	if got := w.token(jira).Scopes; !slices.Contains(got, "read:confluence-content.all") {
		t.Fatalf("asked the provider for %v only", got)
	}
}
