package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnotherSetDecidesFromTheNextCallOn(t *testing.T) {
	e := NewEngine(cedarSet(t, `@id("yes") permit (principal, action, resource);`))
	r := &Request{Caller: "a", Action: Draw, Address: grant("acme/s/jira"), Now: now}
	if d := e.Decide(r); d != (Decision{Allow: true, Rule: "yes"}) {
		t.Fatalf("got %+v", d)
	}
	e.Replace(cedarSet(t, `@id("no") forbid (principal, action, resource);`))
	if d := e.Decide(r); d != (Decision{Rule: "no"}) {
		t.Fatalf("got %+v, want the forbid of the new set", d)
	}
}

func TestTheShadowSetIsComparedAndDecidesNothing(t *testing.T) {
	e := NewEngine(cedarSet(t, `@id("yes") permit (principal, action == Action::"draw", resource);`))
	var told []Difference
	e.Shadow(cedarSet(t, `@id("jira") permit (principal, action == Action::"draw", resource in Product::"jira");
@id("read") permit (principal, action == Action::"read", resource);`), func(d Difference) { told = append(told, d) })
	for _, row := range []struct {
		action  Action
		address string
		allow   bool
		told    int
	}{
		{Draw, "acme/s/jira", true, 0},
		{Draw, "acme/s/confluence", true, 1},
		{Draw, "acme/s/confluence", true, 1}, // each call counts, remembered or not
		{Read, "acme/s/jira", false, 1},
		{Operate, "acme/s/jira", false, 0},
	} {
		told = nil
		r := Request{Caller: "a", Action: row.action, Address: grant(row.address), Now: now}
		if d := e.Decide(&r); d.Allow != row.allow || len(told) != row.told {
			t.Errorf("%s %s: allowed %v, %d differences", row.action, row.address, d.Allow, len(told))
		}
		if row.told > 0 && len(told) > 0 && (told[0].Shadow.Allow == row.allow || told[0].Request.Address != r.Address) {
			t.Errorf("%s %s: told %+v", row.action, row.address, told[0])
		}
	}
}

func TestExplainNamesAllRulesAndFacts(t *testing.T) {
	e := NewEngine(mustLoad(t, Options{
		Groups: map[string][]string{"ops": {"alice"}},
		Sources: []Source{{"a.cedar", []byte(`
@id("one") permit (principal in Group::"ops", action, resource);
@id("two") permit (principal, action == Action::"operate", resource);
@id("big") permit (principal, action == Action::"operate", resource) when { context.hour * 9223372036854775807 * 2 > 1 };
@id("never") forbid (principal, action == Action::"draw", resource) when { context has purpose && context.purpose == "test" };`)}},
	}))
	r := Request{Caller: "alice", Kind: "jwt", Groups: []string{"staff"}, Action: Operate, Address: grant("acme/bot/jira"), Purpose: "test", Scopes: []string{"b", "a"}, Now: now}
	got := e.Explain(r)
	if !got.Allow || !slices.Equal(got.Rules, []string{"one", "two"}) || len(got.Errors) != 1 || !strings.HasPrefix(got.Errors[0], "big: ") {
		t.Fatalf("got %+v", got)
	}
	facts := map[string]string{}
	for _, f := range got.Facts {
		facts[f.Name] = f.Value
	}
	want := map[string]string{
		"action": `Action::"operate"`, "principal": `Caller::"alice"`, "principal.name": `"alice"`, "principal.kind": `"jwt"`,
		"principal.groups": `[Group::"ops", Group::"staff"]`, "resource": `Grant::"acme/bot/jira"`, "resource.tenant": `"acme"`, "resource.subject": `"bot"`,
		"resource.product": `"jira"`, "resource.name": `"default"`, "context.purpose": `"test"`, "context.hour": "15", "context.weekday": "3",
		"context.time": facts["context.time"], "context.scopes": facts["context.scopes"],
	}
	if diff := cmp.Diff(want, facts); diff != "" || !strings.Contains(facts["context.time"], "2026-03-04T15") {
		t.Fatalf("%s\n%s", diff, facts["context.time"])
	}
	r.Action = Draw
	if got := e.Explain(r); got.Allow || !slices.Equal(got.Rules, []string{"never"}) {
		t.Fatalf("got %+v, want the forbid", got)
	}
}

func TestEverSaysWhetherSomeGrantMayBeThere(t *testing.T) {
	set := mustLoad(t, Options{
		Callers: []Rule{{Caller: "svc", Grants: []string{"acme/*/*"}}, {Caller: "op", Admin: true}},
		Groups:  map[string][]string{"team": {"carol"}},
		Sources: []Source{{"a.cedar", []byte(`@id("team") permit (principal in Group::"team", action == Action::"read", resource in Tenant::"acme");
@id("not") forbid (principal == Caller::"lost", action, resource);`)}},
	})
	for _, row := range []struct {
		caller string
		groups []string
		action Action
		want   bool
	}{
		{"svc", nil, Draw, true}, {"svc", nil, Read, false}, {"op", nil, Maintain, true}, {"op", nil, Draw, false},
		{"x", []string{"team"}, Read, true}, {"x", []string{"other"}, Read, false}, {"carol", nil, Read, true}, {"lost", nil, Draw, false},
		{"", []string{"team"}, Read, false}, {"op", nil, "other", false},
	} {
		r := Request{Caller: row.caller, Groups: row.groups, Action: row.action}
		if got := set.Ever(&r); got != row.want {
			t.Errorf("%s %v %s: %v", row.caller, row.groups, row.action, got)
		}
	}
}

// TestWhoIsForbiddenEveryGrantEverSeesNone has each caller permitted all: what
// differs is whether a forbid says no to some grants or to all of them.
func TestWhoIsForbiddenEveryGrantEverSeesNone(t *testing.T) {
	for _, row := range []struct {
		name, forbid string
		draw, read   bool
	}{
		{"this caller", `forbid (principal == Caller::"svc", action, resource);`, false, false},
		{"another", `forbid (principal == Caller::"other", action, resource);`, true, true},
		{"all, one action", `forbid (principal, action == Action::"draw", resource);`, false, true},
		{"all, the admin actions", `forbid (principal, action in Action::"admin", resource is Grant);`, true, false},
		{"a group of the identity", `forbid (principal in Group::"staff", action, resource);`, false, false},
		{"a group of the configuration", `forbid (principal is Caller in Group::"team", action, resource);`, false, false},
		{"a group that it is not in", `forbid (principal in Group::"ops", action, resource);`, true, true},
		{"a caller as if it were a group", `forbid (principal in Caller::"other", action, resource);`, true, true},
		{"how it proved who it is", `forbid (principal, action == Action::"read", resource) unless { principal.kind == "jwt" };`, true, false},
		{"how it did not", `forbid (principal, action, resource) when { principal.kind == "jwt" };`, true, true},
		{"one tenant", `forbid (principal, action, resource in Tenant::"x");`, true, true},
		{"one grant", `forbid (principal, action, resource) when { resource is Grant && resource.name == "x" };`, true, true},
		{"the broker", `forbid (principal, action, resource == Broker::"broker");`, true, true},
		{"a time", `forbid (principal, action, resource) when { context.hour >= 0 };`, true, true},
		{"a call that does not say why", `forbid (principal, action, resource) unless { context has purpose };`, true, true},
	} {
		set := mustLoad(t, Options{
			Groups:  map[string][]string{"team": {"svc"}},
			Sources: []Source{{"a.cedar", []byte(`@id("all") permit (principal, action, resource);` + "\n@id(\"not\") " + row.forbid)}},
		})
		for action, want := range map[Action]bool{Draw: row.draw, Read: row.read} {
			r := Request{Caller: "svc", Kind: "x509", Groups: []string{"staff"}, Action: action, Now: now}
			for range 2 {
				if got := set.Ever(&r); got != want {
					t.Errorf("%s: %s: %v, want %v", row.name, action, got, want)
				}
			}
			if r.Address = grant("acme/s/jira"); !want && set.Decide(&r).Allow {
				t.Errorf("%s: %s is allowed", row.name, action)
			}
			if n := testing.AllocsPerRun(20, func() { set.Ever(&r) }); n != 0 {
				t.Errorf("%s: %v allocations", row.name, n)
			}
		}
	}
}
