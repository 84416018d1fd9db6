package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// answer makes the hand-out from an entry that was found servable.
func (b *Broker) answer(ctx context.Context, sl *slot, e *entry, req *TokenRequest) (*TokenAnswer, error) {
	site, err := b.chooseSite(ctx, sl, e, req.Site)
	if err != nil {
		return nil, err
	}
	if req.NeedSite && site == nil {
		return nil, noSite(&e.grant)
	}
	t := &b.cfg.Timing
	local, now := b.clock.both()
	st := &e.grant.State
	until := st.Access.ExpiresAt
	if !st.Plain(t, now, family.Need{}) {
		st, until = b.normalized(st, now) // what Plan decided on
	}
	// Anybody may cause a rotation at any moment, which leaves this token the
	// access grace and no more; another replica since the entry was verified.
	guaranteed := minTime(until, now.Add(t.AccessGrace-b.age(e, local)))
	return &TokenAnswer{
		GrantID: e.grant.ID, Address: e.grant.Address, Token: st.Access.Token, Generation: st.Generation,
		ExpiresAt: st.Access.ExpiresAt, GuaranteedUntil: guaranteed,
		RefreshAfter: minTime(st.AheadFrom(t.RefreshAhead), guaranteed), ServerTime: now,
		Scopes: st.Access.Scopes, Site: site, APIBaseURL: b.baseURL(e.grant.Address.Product, site),
	}, nil
}

// normalized is apart from answer, whose stack every hot call pays for.
//
//go:noinline
func (b *Broker) normalized(s *family.State, now time.Time) (n *family.State, until time.Time) {
	state := family.Normalize(*s, b.cfg.Timing, now)
	return &state, state.ServableUntil(b.cfg.Timing)
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (b *Broker) baseURL(product string, site *storage.Site) string {
	if site == nil {
		return ""
	}
	return b.cfg.Provider.APIBaseURL(product, site.CloudID)
}

// chooseSite finds the wanted site among the grant's. One that is not known is
// looked up at the provider once a minute at most before it is refused: people
// add sites to a grant without telling us.
func (b *Broker) chooseSite(ctx context.Context, sl *slot, e *entry, want string) (*storage.Site, error) {
	sites := e.grant.Sites
	if want == "" {
		if len(sites) == 1 {
			return &sites[0], nil
		}
		return nil, nil
	}
	found, err := pickSite(&e.grant, want)
	if found != nil || err != nil {
		return found, err
	}
	now := b.now().UnixNano()
	last := sl.siteLookup.Load()
	if now-last >= int64(time.Minute) && sl.siteLookup.CompareAndSwap(last, now) {
		fresh, err := b.lookUpSites(ctx, e)
		if err != nil {
			sl.siteLookup.Store(last)
			return nil, &Error{Reason: ReasonProviderUnavailable, RetryAfter: retrySoon, cause: err,
				Message: fmt.Sprintf("%s is not known to reach site %q, and the provider could not be asked", e.grant.Address, want)}
		}
		if found, err := pickSite(&fresh.grant, want); found != nil || err != nil {
			return found, err
		}
	}
	return nil, &Error{Reason: ReasonSiteNotGranted, Metadata: map[string]string{"sites": siteList(sl.entry.Load().grant.Sites), "link": b.linkFor(&e.grant, "")},
		Message: fmt.Sprintf("%s does not reach site %q; it reaches: %s. A person must consent for that site", e.grant.Address, want, siteList(sites))}
}

// noSite refuses a request that can not do without a site.
func noSite(g *storage.Grant) *Error {
	if len(g.Sites) == 0 {
		return &Error{Reason: ReasonSiteNotGranted, Message: fmt.Sprintf("%s is not known to reach any site: a person must consent for one", g.Address)}
	}
	return &Error{Reason: ReasonSiteAmbiguous, Metadata: map[string]string{"sites": siteList(g.Sites)},
		Message: fmt.Sprintf("%s reaches several sites and the request names none: %s; name one by its cloud id", g.Address, siteList(g.Sites))}
}

// pickSite matches a cloud id, a URL or a host name.
func pickSite(g *storage.Grant, want string) (*storage.Site, error) {
	host := func(u string) string {
		u = strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(u), "https://"), "http://")
		u, _, _ = strings.Cut(u, "/")
		return u
	}
	var found *storage.Site
	for i := range g.Sites {
		s := &g.Sites[i]
		if s.CloudID != want && (s.URL == "" || host(s.URL) != host(want)) {
			continue
		}
		if found != nil && found.CloudID != s.CloudID {
			return nil, &Error{Reason: ReasonSiteAmbiguous, Metadata: map[string]string{"sites": siteList(g.Sites)},
				Message: fmt.Sprintf("site %q means several of: %s; name one by its cloud id", want, siteList(g.Sites))}
		}
		found = s
	}
	return found, nil
}

func siteList(sites []storage.Site) string {
	if len(sites) == 0 {
		return "none"
	}
	var texts []string
	for _, s := range sites {
		texts = append(texts, strings.TrimSpace(s.CloudID+" "+s.URL))
	}
	return strings.Join(texts, ", ")
}

// lookUpSites asks the provider which sites the grant reaches now and stores them.
func (b *Broker) lookUpSites(ctx context.Context, e *entry) (*entry, error) {
	// Detached: others profit from the answer even if this caller leaves.
	ctx, cancel := detach(ctx, b.cfg.Timing.HTTPTimeout)
	defer cancel()
	sites, err := b.sites(ctx, e.grant.Address.Product, e.grant.State.Access.Token)
	if err != nil {
		return nil, err
	}
	return b.change(ctx, e.grant.ID, e.grant.ID, func(g *storage.Grant) ([]family.Event, error) {
		// Nothing at all is no news worth taking sites away for, and of a family
		// that was replaced meanwhile the old one's sites are none.
		if len(sites) == 0 || sameSites(g.Sites, sites) || g.State.FamilyFirst != e.grant.State.FamilyFirst {
			return nil, nil
		}
		g.Sites = sites
		return []family.Event{{Type: family.EventSitesChanged, At: b.now(), Generation: g.State.Generation, Fence: g.State.Fence}}, nil
	})
}

func sameSites(a, b []storage.Site) bool {
	return slices.EqualFunc(a, b, func(x, y storage.Site) bool {
		return x.CloudID == y.CloudID && x.URL == y.URL && x.Name == y.Name && slices.Equal(x.Scopes, y.Scopes)
	})
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	var rest []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			rest = append(rest, s)
		}
	}
	return rest
}
