package broker_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/broker"
)

// Ids follow from addresses, which can be guessed, and a short page may end at a
// grant that the caller may not know of: a token names no row to anybody.
func TestAPageTokenNamesNoGrant(t *testing.T) {
	w := newWorld(t, inMemory)
	w.govern(teams)
	for _, a := range []string{"acme/a/jira", "acme/b/jira", "beta/c/jira", "acme/d/jira"} {
		w.consent(mustAddress(a))
	}
	seen := map[string]bool{}
	for name, list := range w.listings(1, acmeTeam) {
		for range 2 {
			page, token, err := list("")
			if err != nil || len(page) != 1 {
				t.Fatalf("%s: %d grants, %v", name, len(page), err)
			}
			raw, err := base64.RawURLEncoding.DecodeString(token)
			if err != nil || strings.Contains(token+string(raw), page[0].ID[4:]) || len(token) != 78 {
				t.Errorf("%s: the token %q names a grant, or is no text of the one length: %v", name, token, err)
			}
			if seen[token] {
				t.Errorf("%s: one row has one token, so that it can be recognised: %q", name, token)
			}
			seen[token] = true
			second, _, err := list(token)
			if err != nil || len(second) != 1 || second[0].ID <= page[0].ID {
				t.Errorf("%s: the page after %s: %v, %v", name, page[0].ID, second, err)
			}
		}
	}
}

// listings are first pages of c and how they go on.
func (w *world) listings(size int, c broker.Caller) map[string]func(token string) ([]broker.GrantInfo, string, error) {
	return map[string]func(string) ([]broker.GrantInfo, string, error){
		"ListMyGrants": func(token string) ([]broker.GrantInfo, string, error) { return w.MyGrants(ctx, c, size, token) },
		"ListGrants": func(token string) ([]broker.GrantInfo, string, error) {
			return w.Grants(ctx, c, broker.GrantFilter{PageSize: size, PageToken: token})
		},
	}
}

func TestAPageTokenIsGoodForItsOwnListingAlone(t *testing.T) {
	w := newWorld(t, inMemory)
	w.govern(`@id("all") permit (principal, action, resource);`)
	for _, a := range []string{"acme/a/jira", "acme/b/jira", "acme/c/jira"} {
		w.consent(mustAddress(a))
	}
	alice := broker.Caller{Name: "alice", Kind: broker.CallerX509}
	own := broker.GrantFilter{Tenant: "acme", Product: "jira", PageSize: 1}
	_, token, err := w.Grants(ctx, alice, own)
	if err != nil || token == "" {
		t.Fatalf("token %q, %v", token, err)
	}
	own.PageToken = token
	with := func(edit func(*broker.GrantFilter)) broker.GrantFilter {
		f := own
		edit(&f)
		return f
	}
	for name, row := range map[string]struct {
		caller broker.Caller
		filter broker.GrantFilter
		ok     bool
	}{
		"its own":           {alice, own, true},
		"another page size": {alice, with(func(f *broker.GrantFilter) { f.PageSize = 2 }), true},
		"another caller":    {broker.Caller{Name: "bob", Kind: broker.CallerX509}, own, false},
		"another kind":      {broker.Caller{Name: "alice", Kind: broker.CallerJWT}, own, false},
		"another tenant":    {alice, with(func(f *broker.GrantFilter) { f.Tenant = "" }), false},
		"another product":   {alice, with(func(f *broker.GrantFilter) { f.Product = "" }), false},
		"another phase":     {alice, with(func(f *broker.GrantFilter) { f.Phase = 1 }), false},
		"cut short":         {alice, with(func(f *broker.GrantFilter) { f.PageToken = token[:20] }), false},
		"an id":             {alice, with(func(f *broker.GrantFilter) { f.PageToken = jira.GrantID() }), false},
	} {
		page, _, err := w.Grants(ctx, row.caller, row.filter)
		if row.ok && (err != nil || len(page) != row.filter.PageSize) {
			t.Errorf("%s: %d grants, %v", name, len(page), err)
		}
		if !row.ok && broker.ReasonOf(err) != broker.ReasonInvalidRequest {
			t.Errorf("%s: %v, want INVALID_REQUEST", name, err)
		}
	}
	if _, _, err := w.MyGrants(ctx, alice, 1, token); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
		t.Errorf("another method: %v, want INVALID_REQUEST", err)
	}
}
