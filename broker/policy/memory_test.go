package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

func mustLoad(tb testing.TB, o Options) *Set {
	tb.Helper()
	set, err := Load(o)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func cedarSet(tb testing.TB, text string) *Set {
	tb.Helper()
	return mustLoad(tb, Options{Sources: []Source{{"test.cedar", []byte(text)}}})
}

// counted makes a set count how often it evaluates.
func counted(s *Set) *int {
	n := new(int)
	s.evaluate = func(v *view, r Request) verdict {
		*n++
		return evaluate(v, r)
	}
	return n
}

// awkward reads facts in ways in which one can be overlooked.
const awkward = `
@id("a") permit (principal, action == Action::"draw", resource is Grant) when { if principal.kind == "jwt" then resource.name == "default" else resource in Product::"jira" };
@id("b") permit (principal, action in Action::"admin", resource) when { principal in Group::"ops" || principal == Caller::"carol" };
@id("c") forbid (principal, action, resource is Grant) when { [resource.tenant, "x"].contains("beta") };
@id("d") forbid (principal, action == Action::"draw", resource) when { context has site && context.site like "https*" };
@id("e") permit (principal, action == Action::"consent", resource) when { [principal].contains(Caller::"bob") && context.scopes.contains("read") };
@id("f") permit (principal, action == Action::"consent", resource) when { Caller::"dave" in Group::"ops" };
@id("g") permit (principal, action == Action::"operate", resource is Grant) when { {s: resource.subject}.s == "bot" };
@id("h") forbid (principal, action == Action::"operate", resource is Grant) when { [resource].contains(Grant::"acme/bot/jira") || (if principal.kind == "jwt" then resource else resource) in Tenant::"gamma" };
@id("j") permit (principal, action == Action::"read", resource is Grant) when { Grant::"acme/bot/jira" in Tenant::"acme" };
@id("i") permit (principal == Caller::"alice", action == Action::"maintain", resource) when { context has purpose && context.purpose != "no" };
`

// TestARememberedDecisionIsTheOneThatWouldBeMade asks sets with and without
// their memory about requests that differ in one fact after the other.
func TestARememberedDecisionIsTheOneThatWouldBeMade(t *testing.T) {
	sets := map[string]*Set{
		"awkward": mustLoad(t, Options{
			Sources: []Source{{"a.cedar", []byte(awkward)}}, Groups: map[string][]string{"ops": {"erin"}},
			Callers: []Rule{{Caller: "bob", Grants: []string{"*/b*/*"}}, {Caller: "carol", Admin: true}},
		}),
	}
	files, err := filepath.Glob("../../examples/policies/*/policy.cedar")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, f := range files {
		sources, err := ReadFiles(f)
		if err != nil {
			t.Fatal(err)
		}
		sets[f] = mustLoad(t, Options{Sources: sources, Groups: map[string][]string{"operators": {"alice"}, "acme-services": {"bob"}}})
	}
	random := rand.New(rand.NewPCG(7, 7))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	some := func(list ...string) (out []string) {
		for _, text := range list {
			if random.IntN(3) == 0 {
				out = append(out, text)
			}
		}
		return out
	}
	for name, set := range sets {
		allowed := 0
		for range 4000 {
			r := Request{
				Caller: pick("alice", "bob", "carol", "dave", "erin", "spiffe://example.com/reports"), Kind: pick("x509", "jwt", "spiffe"),
				Groups: some("acme-people", "acme-services", "auditors", "operators", "ops"),
				Action: actions[random.IntN(len(actions))], Site: pick("", "https://x", "c-1"), Scopes: some("read", "write"),
				Purpose: pick("", "test-1", "sync", "no"), Now: now.Add(time.Duration(random.IntN(200)) * time.Hour),
			}
			if random.IntN(5) > 0 {
				r.Address = storage.Address{
					Tenant: pick("acme", "beta", "gamma"), Subject: pick("automation", "bot"), Product: pick("jira", "confluence"), Name: pick("default", "second"),
				}
			}
			want := evaluate(set.view(r.Caller), r).decision()
			if got := set.Decide(&r); got != want {
				t.Fatalf("%s: %+v: got %+v, want %+v", name, r, got, want)
			}
			if want.Allow {
				allowed++
			}
		}
		if allowed == 0 {
			t.Errorf("%s: nothing was allowed, which shows nothing", name)
		}
	}
}

func TestOnlyWhatIsReadCounts(t *testing.T) {
	set := cedarSet(t, `
@id("team") permit (principal in Group::"team", action == Action::"draw", resource in Tenant::"acme");
@id("night") forbid (principal, action == Action::"operate", resource) when { context.hour < 6 };
@id("ops") permit (principal in Group::"team", action == Action::"operate", resource);`)
	n := counted(set)
	base := Request{Caller: "a", Kind: "x509", Groups: []string{"team"}, Action: Draw, Address: grant("acme/s/jira"), Now: now}
	for _, change := range []struct {
		name  string
		edit  func(r *Request)
		fresh bool
	}{
		{"first", func(*Request) {}, true},
		{"again", func(*Request) {}, false},
		{"another caller", func(r *Request) { r.Caller = "b" }, false},
		{"another kind", func(r *Request) { r.Kind = "jwt" }, false},
		{"another grant of the tenant", func(r *Request) { r.Address = grant("acme/t/confluence/x") }, false},
		{"another purpose, site, scope, time", func(r *Request) {
			r.Purpose, r.Site, r.Scopes, r.Now = "p", "s", []string{"x"}, now.Add(time.Hour)
		}, false},
		{"another tenant", func(r *Request) { r.Address = grant("beta/s/jira") }, true},
		{"other groups", func(r *Request) { r.Groups = []string{"team", "x"} }, true},
		{"another action", func(r *Request) { r.Action = Consent }, true},
		{"an action whose rules read the time", func(r *Request) { r.Action = Operate }, true},
		{"that again", func(r *Request) { r.Action = Operate }, true},
	} {
		before := *n
		r := base
		change.edit(&r)
		set.Decide(&r)
		if fresh := *n > before; fresh != change.fresh {
			t.Errorf("%s: decided afresh %v, want %v", change.name, fresh, change.fresh)
		}
	}
}

func TestAListingDoesNotDriveOutWhatIsHot(t *testing.T) {
	e, err := New([]Rule{{Caller: "svc", Grants: []string{"acme/*/*"}}})
	if err != nil {
		t.Fatal(err)
	}
	set := e.set.Load()
	hot := Request{Caller: "svc", Action: Draw, Address: grant("acme/hot/jira"), Now: now}
	set.Decide(&hot)
	n := counted(set)
	for i := range 3 * places * ways {
		r := hot
		r.Address.Subject = fmt.Sprint("row-", i)
		if !set.Peek(&r).Allow {
			t.Fatal("refused")
		}
	}
	before := *n
	if set.Decide(&hot); *n != before {
		t.Error("the hot decision was forgotten")
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	e, err := New([]Rule{{Caller: "svc", Grants: []string{"acme/*/*"}}})
	if err != nil {
		t.Fatal(err)
	}
	set := e.set.Load()
	set.evaluate = func(*view, Request) verdict { return verdict{allow: true, rules: []string{"x"}} }
	for i := range 3 * places * ways {
		set.Decide(&Request{Caller: "svc", Action: Draw, Address: storage.Address{Tenant: fmt.Sprint(i)}})
	}
	kept := 0
	for i := range set.memory.table {
		for j := range set.memory.table[i] {
			if set.memory.table[i][j].Load() != nil {
				kept++
			}
		}
	}
	if kept > places*ways || kept < places*ways/2 {
		t.Errorf("%d decisions are kept, of at most %d", kept, places*ways)
	}
}

// TestTheMemoryIsBoundedInBytesToo lets one caller say as much as a message holds, each time something else.
func TestTheMemoryIsBoundedInBytesToo(t *testing.T) {
	set := cedarSet(t, `@id("a") permit (principal in Group::"g", action == Action::"draw", resource) when { context.scopes.contains("x") };`)
	heavy := func() (sum int) {
		for i := range set.memory.table {
			for j := range set.memory.table[i] {
				if e := set.memory.table[i][j].Load(); e != nil && len(e.request.Scopes) > 50 {
					sum += len(strings.Join(e.request.Scopes, "") + strings.Join(e.request.Groups, ""))
				}
			}
		}
		return sum
	}
	n := 0
	set.evaluate = func(*view, Request) verdict {
		n++
		return verdict{allow: true, rules: []string{"a"}}
	}
	long := slices.Repeat([]string{strings.Repeat("s", 1024)}, 60)
	said := func(i int) *Request {
		return &Request{Caller: "svc", Action: Draw, Address: grant("acme/s/jira"), Scopes: append([]string{fmt.Sprint(i)}, long...), Groups: long}
	}
	for i := range 300 {
		set.Decide(said(i))
	}
	if kept := heavy(); kept > 16<<20 || kept < 8<<20 {
		t.Errorf("%d bytes of long requests are kept", kept)
	}
	light := &Request{Caller: "svc", Groups: []string{"g"}, Action: Draw, Address: grant("acme/s/jira"), Scopes: []string{"x"}}
	set.Decide(light)
	before := n
	if set.Decide(said(1)); set.Decide(light).Allow && n != before {
		t.Error("what was said first, and what is short, is decided afresh")
	}
	for i := range 2 * places * ways {
		set.Decide(&Request{Caller: "svc", Action: Draw, Address: grant("acme/s/jira"), Scopes: []string{fmt.Sprint("short-", i)}})
	}
	left := heavy()
	for i := range 300 {
		set.Decide(said(10_000 + i))
	}
	if kept := heavy(); left > 8<<20 || kept < 8<<20 || kept > 16<<20 {
		t.Errorf("short requests left %d bytes of long ones, and then %d are kept: what was driven out must make room", left, kept)
	}
}

func TestExamplesDoWhatTheirCasesSay(t *testing.T) {
	files, err := filepath.Glob("../../examples/policies/*/test.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := ParseCases(f, text)
		if err != nil {
			t.Fatal(err)
		}
		sources, err := ReadFiles(filepath.Join(filepath.Dir(f), cases.Policies[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range cases.Run(mustLoad(t, Options{Sources: sources, Groups: cases.Groups})) {
			if !r.Passed {
				t.Errorf("%s: %s: got %s by %v, want %s by %q", f, r.Case.Name, r.Got.Verdict(), r.Got.Rules, r.Case.Want, r.Case.Rule)
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	rules := make([]Rule, 100)
	for i := range rules {
		rules[i] = Rule{Caller: fmt.Sprint("svc-", i), Grants: []string{"acme/*/*"}}
	}
	e, err := New(rules)
	if err != nil {
		b.Fatal(err)
	}
	r := Request{Caller: "svc-7", Kind: "x509", Action: Draw, Address: grant("acme/automation/jira"), Scopes: []string{"read:jira-work"}, Now: now}
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !e.Decide(&r).Allow {
				b.Fatal("refused")
			}
		}
	})
	b.Run("afresh", func(b *testing.B) {
		b.ReportAllocs()
		set := e.set.Load()
		for b.Loop() {
			if !evaluate(set.view(r.Caller), r).allow {
				b.Fatal("refused")
			}
		}
	})
}
