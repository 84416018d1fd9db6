package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAFileIsRefusedWithEverythingThatIsWrongAndWhere(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       []string
	}{
		{"no id", "permit (principal, action, resource);", []string{"f.cedar:1: the policy has no id"}},
		{"an empty id", "@id permit (principal, action, resource);", []string{"f.cedar:1: the policy has no id"}},
		{"an id of the configuration's", "@id(\"callers[op]\")\npermit (principal, action, resource);", []string{`f.cedar:1: @id("callers[op]"): want`}},
		{"one id twice", "@id(\"a\")\npermit (principal, action, resource);\n\n@id(\"a\") forbid (principal, action, resource);",
			[]string{`f.cedar:4: @id("a") is taken by the policy at f.cedar:1`}},
		{"no Cedar", "@id(\"a\")\npermit (principal, action, resource)\nwhen { foo };", []string{"f.cedar:3: not a Cedar policy: "}},
		{"a text that does not end", "@id(\"a\npermit", []string{"f.cedar:1: not a Cedar policy: "}},
		{"nothing", "// later\n", []string{"f.cedar: holds no policy"}},
		{"an attribute that is not there", "@id(\"a\") permit (principal, action == Action::\"draw\", resource) when { resource.tenannt == \"x\" };",
			[]string{"f.cedar:1: attribute `tenannt` on entity type `Grant` not found"}},
		{"a fact of the call that is not there", "@id(\"a\") permit (principal, action, resource) when { context.ip == \"x\" };", []string{"`ip`"}},
		{"an optional fact that is not asked for", "@id(\"a\") permit (principal, action, resource) when { context.purpose == \"x\" };",
			[]string{"ask first, as in `context has purpose"}},
		{"an action that is not there", "@id(\"a\") permit (principal, action == Action::\"drw\", resource);", []string{"there are draw, consent, read"}},
		{"an entity that is not there", "@id(\"a\") permit (principal == User::\"x\", action, resource);", []string{"there are Caller, Group"}},
		{"types that never agree", "@id(\"a\") permit (principal, action, resource) when { context.hour == \"8\" };", []string{"f.cedar:1: the types"}},
		{"an action that is never about the broker", "@id(\"a\") permit (principal, action == Action::\"draw\", resource == Broker::\"broker\");", []string{"applicable action"}},
		{"a grant that is never asked about", "@id(\"a\") permit (principal, action, resource == Grant::\"a/b/c/default\");", []string{`write Grant::"a/b/c"`}},
		{"a pattern where none is", "@id(\"a\") permit (principal, action, resource in Tenant::\"acme-*\");", []string{"for a pattern write `resource.tenant like"}},
		{"two wrong policies", "permit (principal, action, resource);\n\n@id(\"b\") permit (principal == User::\"x\", action, resource);",
			[]string{"f.cedar:1: the policy has no id", "f.cedar:3: unrecognized entity type"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Load(Options{Sources: []Source{{"f.cedar", []byte(row.text)}}})
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing from:\n%v", want, err)
				}
			}
		})
	}
}

func TestProblemsOfAllFilesComeAtOnceInOrder(t *testing.T) {
	_, err := Load(Options{Sources: []Source{
		{"b.cedar", []byte("permit (principal, action, resource);")},
		{"a.cedar", []byte("@id(\"x\") permit (principal, action, resource);\npermit (principal, action, resource);")},
		{"c.cedar", []byte("@id(\"x\") permit (principal, action, resource);")},
	}})
	var lines []string
	for line := range strings.Lines(err.Error()) {
		lines = append(lines, line[:10])
	}
	if diff := cmp.Diff([]string{"a.cedar:2:", "b.cedar:1:", "c.cedar:1:"}, lines); diff != "" {
		t.Fatal(diff)
	}
}

func TestADirectoryStandsForItsPolicyFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b.cedar": "b", "a.cedar": "a", "notes.txt": "x", ".hidden.cedar": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Source{{filepath.Join(dir, "a.cedar"), []byte("a")}, {filepath.Join(dir, "b.cedar"), []byte("b")}}, got); diff != "" {
		t.Fatal(diff)
	}
	if _, err := ReadFiles(t.TempDir(), filepath.Join(dir, "missing.cedar")); err == nil ||
		!strings.Contains(err.Error(), "holds no file") || !strings.Contains(err.Error(), "missing.cedar") {
		t.Fatalf("got %v, want an empty directory and a missing file told at once", err)
	}
}

func TestTheShortFormIsCompiledToPoliciesThatTheSchemaTakes(t *testing.T) {
	rules, err := compileAll([]Rule{
		{Caller: "all", Grants: []string{"*/*/*/*", "acme/bot-*/jira"}, Consents: []string{"a/b/c/d"}, Admin: true},
		{Caller: "front", Grants: []string{"acme/**/jira"}, Consents: []string{"acme/*x*/*"}},
		{Caller: "op", Admin: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if found := check(r.policy); len(found) > 0 {
			t.Errorf("%s: %v\n%s", r.id, found, r.policy.MarshalCedar())
		}
	}
}

func TestPatternsMatchWholeSegments(t *testing.T) {
	for _, row := range []struct {
		pattern, address string
		want             bool
	}{
		{"*/s/jira", "anything/s/jira", true}, {"a*/s/jira", "abc/s/jira", true}, {"*c/s/jira", "abc/s/jira", true}, {"a*c/s/jira", "abbbc/s/jira", true},
		{"a*b*c/s/jira", "axxbyyc/s/jira", true}, {"a*c/s/jira", "ab/s/jira", false}, {"abc/s/jira", "abcd/s/jira", false},
		{"a**c/s/jira", "ac/s/jira", true}, {"*a*a*a*b/s/jira", strings.Repeat("a", 128) + "/s/jira", false},
		{"acme/s/jira", "acme/s/jira/second", false}, {"acme/s/jira/*", "acme/s/jira/second", true}, {"acme/s/jira/*", "acme/s/jira", true},
	} {
		e, err := New([]Rule{{Caller: "svc", Grants: []string{row.pattern}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Decide(&Request{Caller: "svc", Action: Draw, Address: grant(row.address)}).Allow; got != row.want {
			t.Errorf("%q on %q: %v", row.pattern, row.address, got)
		}
	}
}

func TestTheVersionFollowsTheTextAlone(t *testing.T) {
	load := func(file, text string, groups map[string][]string) string {
		set, err := Load(Options{Sources: []Source{{file, []byte(text)}}, Groups: groups, Callers: []Rule{{Caller: "op", Admin: true}}})
		if err != nil {
			t.Fatal(err)
		}
		return set.Version()
	}
	const text = `@id("a") permit (principal, action, resource);`
	one := load("a.cedar", text, nil)
	if load("/elsewhere/a.cedar", text, nil) != one {
		t.Error("another place of the file changed the version")
	}
	if load("a.cedar", text+" ", nil) == one || load("a.cedar", text, map[string][]string{"g": {"op"}}) == one {
		t.Error("a change did not")
	}
}
