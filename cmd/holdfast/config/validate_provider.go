package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
)

// Defaults of the provider section. 3 x (60s + 20s) + 10s = 250s fits well into
// the ten minutes of leeway that Atlassian documents.
const (
	DefaultProfile     = "atlassian"
	DefaultHTTPTimeout = atlassian.DefaultHTTPTimeout
	DefaultLease       = 60 * time.Second
	DefaultClockMargin = 10 * time.Second
)

// confirmDelay is the least time between the first refusal of a family and the
// verdict: long enough for a provider's hiccup of some seconds to pass.
const confirmDelay = 30 * time.Second

// validateProvider loads the profile, lays the overrides over it and checks the
// arithmetic of the leeway.
func (c *Config) validateProvider(r *report) {
	c.Provider.validateProxy(r)
	if file := c.Provider.CAFile; file != "" {
		const path = "provider.ca_file"
		r.readable(path, file, "give a PEM file, or delete the key to use the system's certificates")
		if r.fine(path, file) {
			r.certificates(path, file)
		}
	}
	c.Provider.validateLoad(r)
	if c.validateProfile(r) {
		c.validateTiming(r)
	}
}

// validateProfile sets Resolved and reports whether there is such a profile.
func (c *Config) validateProfile(r *report) bool {
	p := &c.Provider
	profile, err := atlassian.LoadProfile(p.Profile)
	if err != nil {
		if !r.broken("provider.profile") {
			r.add("provider.profile", "%v", err)
		}
		return false
	}
	if p.Overrides.node != nil {
		decoder{r}.value(p.Overrides.node, reflect.ValueOf(&profile).Elem(), "provider.overrides")
	}
	if !r.broken("provider.overrides") {
		for _, e := range each(profile.Validate()) {
			field, message, _ := strings.Cut(e.Error(), ": ")
			r.add("provider.overrides."+field, "%s", message)
		}
	}
	p.Resolved = profile
	return true
}

// validateLoad checks what one app may ask of the provider.
func (p *Provider) validateLoad(r *report) {
	for _, k := range []struct {
		key                string
		value, least, most int
	}{
		{"rate", p.Rate, 1, broker.MostLoadRate}, {"burst", p.Burst, 2, broker.MostLoadRate},
		{"concurrency", p.Concurrency, 2, broker.MostLoadConcurrency},
	} {
		if k.value < k.least || k.value > k.most {
			r.add("provider."+k.key, "%d is not from %d to %d", k.value, k.least, k.most)
		}
	}
}

func (p *Provider) validateProxy(r *report) {
	const path = "provider.proxy_url"
	switch {
	case p.ProxyURL != "" && p.ProxyURLFile != "":
		r.add(path, "contradicts proxy_url_file; keep one")
	case p.ProxyURLFile != "":
		r.readable(path+"_file", p.ProxyURLFile, "write the proxy's URL into it")
		if r.fine(path+"_file", p.ProxyURLFile) {
			if _, err := p.Proxy(); err != nil {
				r.add(path+"_file", "%s: %v", p.ProxyURLFile, err)
			}
			r.private(path+"_file", p.ProxyURLFile)
		}
	case p.ProxyURL != "":
		u, err := parseProxy(p.ProxyURL)
		if err != nil {
			r.add(path, "%v", err)
		} else if u.User != nil {
			r.add(path, "a password does not belong into this file; move the URL into a file and name it in proxy_url_file")
		}
	}
}

// Proxy returns the egress proxy's URL, nil if there is none. It reads ProxyURLFile.
func (p *Provider) Proxy() (*url.URL, error) {
	text := p.ProxyURL
	if p.ProxyURLFile != "" {
		content, err := os.ReadFile(p.ProxyURLFile)
		if err != nil {
			return nil, fmt.Errorf("reading the proxy's URL: %w", err)
		}
		text = strings.TrimSpace(string(content))
	}
	if text == "" {
		return nil, nil
	}
	return parseProxy(text)
}

// parseProxy never repeats the text: it may hold a password.
func parseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("want an http or https URL such as http://proxy.example.com:3128")
	}
	return u, nil
}

func (c *Config) validateTiming(r *report) {
	for _, key := range []string{"http_timeout", "lease", "clock_margin"} {
		if r.broken("provider." + key) {
			return // the arithmetic would speak of values that nobody wrote
		}
	}
	c.Provider.Timing = c.Provider.timing()
	if least := broker.LeastSharedMargin; c.Store.Kind == StorePostgres && c.Provider.ClockMargin < least {
		r.add("provider.clock_margin", "%v is too short for replicas that share a store: they agree on the database's clock as precisely as %v at best", c.Provider.ClockMargin, least)
	}
	for _, e := range each(c.Provider.Timing.Validate()) {
		message := strings.TrimPrefix(e.Error(), "timing: ")
		path := "provider"
		if strings.Contains(message, "in-doubt") {
			path = "provider.in_doubt"
		}
		r.add(path, "%s", message)
	}
}

// timing of the resolved profile with this section's durations.
func (p *Provider) timing() family.Timing {
	return family.Timing{
		Leeway: p.Resolved.Leeway, AccessGrace: p.Resolved.AccessGrace,
		IdleLimit: p.Resolved.IdleLimit, AbsoluteLimit: p.Resolved.AbsoluteLimit,
		Lease: p.Lease, HTTPTimeout: p.HTTPTimeout, ClockMargin: p.ClockMargin,
		// Half the grace: a token in use is renewed well before its end, and a
		// rotation never cuts short what was promised to others.
		RefreshAhead: p.Resolved.AccessGrace / 2,
		ConfirmDelay: confirmDelay,
		InDoubt:      family.InDoubtRule(p.InDoubt),
	}
}

// each returns the errors that were joined into err.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}
