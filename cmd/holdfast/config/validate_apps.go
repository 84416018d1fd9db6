package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-io/holdfast/broker/atlassian"
)

// maxScopes is the provider's documented bound ("fewer than 50 scopes per app").
const maxScopes = 50

func (c *Config) validateApps(r *report) {
	if len(c.Apps) == 0 && !r.broken("apps") {
		r.add("apps", "missing; list at least one OAuth client registration")
	}
	ids, clients := map[string]int{}, map[string]int{}
	for i := range c.Apps {
		app, path := &c.Apps[i], "apps["+strconv.Itoa(i)+"]"
		if r.broken(path) {
			continue
		}
		if r.required(path+".id", app.ID, "name the app; grants remember it") {
			if !word.MatchString(app.ID) {
				r.add(path+".id", "%q: want 1 to 64 of the characters A-Z a-z 0-9 . _ -", app.ID)
			}
			r.unique(path+".id", app.ID, ids, "give each app its own")
		}
		if r.required(path+".client_id", app.ClientID, "copy it from the provider's console") {
			r.unique(path+".client_id", app.ClientID, clients, "one client is one app: list both products there, or register a second client, which isolates the products")
		}
		validateSecretFiles(r, path+".client_secret_files", app.ClientSecretFiles)
		c.validateProducts(r, path, app)
		c.validateScopes(r, path, app)
	}
	c.validateDefaultApps(r)
}

// products returns the names of products: the profile's, or those that the
// apps name if the provider knows none.
func (c *Config) products() []string {
	names := maps.Clone(c.Provider.Resolved.Products)
	if len(names) == 0 {
		names = map[string]atlassian.Product{}
		for _, app := range c.Apps {
			for _, p := range app.Products {
				names[p] = atlassian.Product{}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// knownProduct reports whether p can be a grant's product at this provider.
func (c *Config) knownProduct(p string) bool {
	return word.MatchString(p) && slices.Contains(c.products(), p)
}

// unique reports a value that came before.
func (r *report) unique(path, value string, seen map[string]int, advice string) {
	if first, twice := seen[value]; twice {
		r.add(path, "%q is used twice (first in line %d); %s", value, first, advice)
		return
	}
	seen[value] = r.lineOf(path)
}

func validateSecretFiles(r *report, path string, files []string) {
	if r.broken(path) {
		return
	}
	switch {
	case len(files) == 0:
		r.add(path, "missing; name the file that holds the client secret")
	case len(files) > 2:
		r.add(path, "%d files; want one, or two while a secret is being changed", len(files))
	}
	for i, f := range files {
		r.requiredFile(path+"["+strconv.Itoa(i)+"]", f, "write the client secret into it, readable by this service only")
	}
}

func (c *Config) validateProducts(r *report, path string, app *App) {
	if len(app.Products) == 0 && !r.broken(path+".products") {
		r.add(path+".products", "missing; list jira or confluence")
	}
	for i, p := range app.Products {
		at := fmt.Sprintf("%s.products[%d]", path, i)
		switch {
		case r.broken(at):
		case !c.knownProduct(p):
			r.add(at, "%q is no product of this provider; %s", p, suggest(p, c.products()))
		case slices.Index(app.Products, p) < i:
			r.add(at, "%q is listed twice; keep one", p)
		}
	}
	if len(app.Products) > 1 {
		r.warn(path+".products", "app %q is shared by %s: at the provider a consent for one product may take the scopes of the other away; "+
			"register one client per product to isolate them", app.ID, strings.Join(app.Products, " and "))
	}
}

func (c *Config) validateScopes(r *report, path string, app *App) {
	path += ".scopes"
	if r.broken(path) {
		return
	}
	total := 0
	for _, product := range slices.Sorted(maps.Keys(app.Scopes)) {
		at := path + "." + product
		if !slices.Contains(app.Products, product) {
			r.add(at, "the app is not for %q; add it to products or delete the scopes", product)
		}
		for i, scope := range app.Scopes[product] {
			c.validateScope(r, fmt.Sprintf("%s[%d]", at, i), scope)
		}
		total += len(app.Scopes[product])
	}
	for _, product := range app.Products {
		if len(app.Scopes[product]) == 0 && c.knownProduct(product) && !r.broken(path+"."+product) {
			r.add(path+"."+product, "missing; list what to ask for, e.g. read:jira-work")
		}
	}
	if total >= maxScopes {
		r.warn(path, "%d scopes; the provider documents fewer than %d per app, and about 80 break its gateway", total, maxScopes)
	}
}

func (c *Config) validateScope(r *report, path, scope string) {
	switch {
	case r.broken(path):
	case scope == "" || strings.ContainsAny(scope, " \t\r\n\"\\"):
		r.add(path, "%q: want one scope without spaces; list several as items of their own", scope)
	case len(c.Provider.Resolved.Products) > 0 && (scope == "openid" || scope == "profile" || scope == "email"):
		r.add(path, "%q breaks the provider's consent: people end on its error page; delete it", scope)
	case scope == c.Provider.Resolved.OfflineScope:
		r.warn(path, "%s is added by itself; delete it", scope)
	}
}

// validateDefaultApps demands one default among several apps of a product:
// otherwise a consent that names no app could not choose.
func (c *Config) validateDefaultApps(r *report) {
	for _, product := range c.products() {
		var all, defaults []string
		last := ""
		for i := range c.Apps {
			if !slices.Contains(c.Apps[i].Products, product) {
				continue
			}
			all = append(all, c.Apps[i].ID)
			last = "apps[" + strconv.Itoa(i) + "]"
			if c.Apps[i].Default {
				defaults = append(defaults, c.Apps[i].ID)
				last += ".default"
			}
		}
		switch {
		case len(all) > 1 && len(defaults) == 0:
			r.add(last, "%s has %d apps (%s) and none is the default; set default: true on one", product, len(all), strings.Join(all, ", "))
		case len(defaults) > 1:
			r.add(last, "%s has %d default apps (%s); keep one", product, len(defaults), strings.Join(defaults, ", "))
		}
	}
}
