package policy

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// FuzzFiles: a set that loads decides, and decides nothing for a caller without a name.
func FuzzFiles(f *testing.F) {
	f.Add(`@id("a") permit (principal == Caller::"x", action == Action::"draw", resource);`)
	f.Add(`@id("a") permit (principal, action, resource) when { context.purpose like "a*" };`)
	f.Add(`@id("a") forbid (principal, action, resource) unless { resource.tenant == "acme" };`)
	f.Add(`permit (principal, action, resource);`)
	f.Add(`@id("a") permit (`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Load(Options{Sources: []Source{{File: "a.cedar", Text: []byte(text)}}})
		if err != nil {
			return
		}
		r := &Request{Caller: "x", Kind: "x509", Action: Draw, Now: time.Unix(1, 0),
			Address: storage.Address{Tenant: "acme", Subject: "bot", Product: "jira", Name: "default"}}
		d := set.Decide(r)
		if d.Allow && d.Rule == "" {
			t.Error("allowed by no rule")
		}
	})
}

func FuzzPatterns(f *testing.F) {
	f.Add("acme/*/jira", "acme/bot/jira")
	f.Add("*/*/*/*", "a/b/c/d")
	f.Add("***/a*b*c/x", "abc/aXbYc/x")
	f.Fuzz(func(_ *testing.T, pattern, address string) {
		set, err := Load(Options{Callers: []Rule{{Caller: "x", Grants: []string{pattern}}}})
		if err != nil {
			return
		}
		if a, err := storage.ParseAddress(address); err == nil {
			_ = set.Decide(&Request{Caller: "x", Kind: "x509", Action: Draw, Address: a})
		}
	})
}

func FuzzCases(f *testing.F) {
	f.Add([]byte("cases: [{caller: a, action: draw, grant: a/b/jira, want: allow}]"))
	f.Add([]byte("cases: &x [*x]"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = ParseCases("cases.yaml", text)
	})
}
