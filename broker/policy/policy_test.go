package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

func TestDefaultIsDenyAndEachRightStandsAlone(t *testing.T) {
	set, err := New([]Rule{
		{Caller: "reader", Grants: []string{"acme/*/jira", "beta/bot-*/*/*"}},
		{Caller: "front", Consents: []string{"acme/*/*"}},
		{Caller: "op", Admin: true},
		{Caller: "nothing"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		caller  string
		action  Action
		address string
		want    bool
	}{
		{"reader", Draw, "acme/automation/jira", true},
		{"reader", Draw, "acme/automation/jira/second", false}, // three segments: default name only
		{"reader", Draw, "acme/automation/confluence", false},
		{"reader", Draw, "acmeX/automation/jira", false},
		{"reader", Draw, "beta/bot-7/confluence/second", true},
		{"reader", Draw, "beta/robot-7/confluence", false},
		{"reader", Consent, "acme/automation/jira", false},
		{"reader", Read, "acme/automation/jira", false},
		{"front", Consent, "acme/automation/jira", true},
		{"front", Draw, "acme/automation/jira", false},
		{"op", Read, "acme/automation/jira", true},
		{"op", Operate, "acme/automation/jira", true},
		{"op", Maintain, "acme/automation/jira", true},
		{"op", Consent, "zeta/automation/jira", true},
		{"op", Draw, "acme/automation/jira", false}, // an operator draws no tokens
		{"nothing", Draw, "acme/automation/jira", false},
		{"stranger", Draw, "acme/automation/jira", false},
		{"", Read, "acme/automation/jira", false},
		{"op", Action("other"), "acme/automation/jira", false},
	} {
		a := grant(row.address)
		got := set.Decide(&Request{Caller: row.caller, Action: row.action, Address: a})
		if got.Allow != row.want {
			t.Errorf("%s %s %s: allowed %v, want %v", row.caller, row.action, row.address, got.Allow, row.want)
		}
		if got.Allow != (got.Rule != "") {
			t.Errorf("%s %s %s: rule %q does not go with allowed %v", row.caller, row.action, row.address, got.Rule, got.Allow)
		}
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	_, err := New([]Rule{
		{Caller: ""},
		{Caller: "a", Grants: []string{"acme", "acme/x/jira", "a/b/c/d/e"}, Consents: []string{"sp ace/x/jira"}},
		{Caller: "a"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"callers[0]: name is missing", "callers[a].grants[0]", "callers[a].grants[2]", "callers[a].consents[0]", "listed twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from: %v", want, err)
		}
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	set, err := New([]Rule{{Caller: "reader", Grants: []string{"acme/*/jira"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Caller: "reader", Kind: "x509", Groups: []string{"a", "b"}, Action: Draw, Address: grant("acme/s/jira"), Scopes: []string{"x"}, Now: now}
	if n := testing.AllocsPerRun(100, func() {
		r := r
		if !set.Decide(&r).Allow {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

var now = time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC) // a Wednesday

func grant(text string) storage.Address {
	a, err := storage.ParseAddress(text)
	if err != nil {
		panic(err)
	}
	return a
}
