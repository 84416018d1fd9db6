package atlassian

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Products returns, sorted, the products that the scopes mean: those with a
// word of their own in one of them. None for a profile without products.
func (p *Provider) Products(scopes []string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.profile.Products)) {
		if p.profile.Products[name].meantBy(scopes) {
			out = append(out, name)
		}
	}
	return out
}

// SitesOf returns the sites whose scopes mean product; all of them for a
// profile without products.
func (p *Provider) SitesOf(product string, sites []Resource) []Resource {
	if len(p.profile.Products) == 0 {
		return sites
	}
	known, ok := p.profile.Products[product]
	if !ok {
		return nil
	}
	var out []Resource
	for _, site := range sites {
		if known.meantBy(site.Scopes) {
			out = append(out, site)
		}
	}
	return out
}

// APIBaseURL returns what takes the place of the site's own origin in the
// product's documented paths, without a trailing slash; empty if the profile
// does not know the product, or needs a cloudID and has none.
func (p *Provider) APIBaseURL(product, cloudID string) string {
	base := p.profile.Products[product].APIBase
	before, after, found := strings.Cut(base, "{cloudid}")
	switch {
	case !found:
		return base
	case cloudID == "":
		return ""
	}
	cloudID = url.PathEscape(cloudID)
	return before + cloudID + strings.ReplaceAll(after, "{cloudid}", cloudID)
}

func (p Product) meantBy(scopes []string) bool {
	if len(p.ScopeWords) == 0 {
		return true
	}
	return slices.ContainsFunc(scopes, func(scope string) bool {
		return slices.ContainsFunc(words(scope), func(w string) bool { return slices.Contains(p.ScopeWords, w) })
	})
}

// words splits "read:jira-work" into read, jira and work.
func words(scope string) []string {
	return strings.FieldsFunc(strings.ToLower(scope), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}
