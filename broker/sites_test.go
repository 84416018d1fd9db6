package broker_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/storage"
)

// unknownSite is one that no grant reaches.
const unknownSite = "https://other.atlassian.net"

func isLookup(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "accessible-resources") }

func answerJSON(rw http.ResponseWriter, body []byte) {
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write(body)
}

// drawFor draws a token for a site and returns why not.
func (w *world) drawFor(site string) error {
	_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, Site: site})
	return err
}

func TestALookupThatFailsIsNoVerdictOnTheSite(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	var sick atomic.Bool
	sick.Store(true)
	w.front(func(rw http.ResponseWriter, r *http.Request) bool {
		switch {
		case !isLookup(r):
			return false
		case sick.Load():
			rw.WriteHeader(http.StatusServiceUnavailable)
		default:
			answerJSON(rw, []byte(`[{"id":"new","name":"new","url":"`+unknownSite+`","scopes":["read:jira-work"]}]`))
		}
		return true
	})
	if err := w.drawFor(unknownSite); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v, want PROVIDER_UNAVAILABLE", err)
	}
	if err := w.drawFor(atlassiansim.DefaultSites()[0].CloudID); err != nil {
		t.Fatalf("a known site needs no lookup: %v", err)
	}
	sick.Store(false)
	if err := w.drawFor(unknownSite); err != nil {
		t.Fatalf("a failed lookup used up the minute's one: %v", err)
	}
}

func TestALookupThatFindsNothingTakesNoSiteAway(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.front(func(rw http.ResponseWriter, r *http.Request) bool {
		if isLookup(r) {
			answerJSON(rw, []byte("[]"))
			return true
		}
		return false
	})
	if err := w.drawFor(unknownSite); broker.ReasonOf(err) != broker.ReasonSiteNotGranted {
		t.Fatalf("got %v, want SITE_NOT_GRANTED", err)
	}
	if err := w.drawFor(atlassiansim.DefaultSites()[0].CloudID); err != nil {
		t.Fatalf("one caller's typo took the site from everybody: %v", err)
	}
}

func TestALookupWithAReplacedFamilysTokenChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	asked, goOn := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	w.front(func(rw http.ResponseWriter, r *http.Request) bool {
		if !isLookup(r) || !armed.CompareAndSwap(true, false) {
			return false
		}
		rec := httptest.NewRecorder()
		w.sim.ServeHTTP(rec, r) // what the old family reaches
		close(asked)
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		answerJSON(rw, rec.Body.Bytes())
		return true
	})
	armed.Store(true)
	ended := make(chan error, 1)
	go func() { ended <- w.drawFor(unknownSite) }()
	<-asked
	b := w.visit(w.link(jira).URL, "&sim_site="+atlassiansim.DefaultSites()[1].CloudID)
	o := b.finish() // reaches a site more
	before := w.grant(jira)
	close(goOn)
	if err := <-ended; broker.ReasonOf(err) != broker.ReasonSiteNotGranted {
		t.Errorf("the caller who asked for it: %v", err)
	}
	if o.Status != storage.ConsentDone || len(before.Sites) != 2 {
		t.Fatalf("status %s, sites %v", o.Status, before.Sites)
	}
	if after := w.grant(jira); !slices.EqualFunc(before.Sites, after.Sites, func(x, y storage.Site) bool { return x.CloudID == y.CloudID }) {
		t.Fatalf("the old family's sites took the place of the new one's: %v, now %v", before.Sites, after.Sites)
	}
}
