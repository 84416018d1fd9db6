package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// files are the contract as it is compiled in.
var files = []protoreflect.FileDescriptor{
	holdfastv1.File_holdfast_v1_token_service_proto, holdfastv1.File_holdfast_v1_consent_service_proto,
	holdfastv1.File_holdfast_v1_admin_service_proto, holdfastv1.File_holdfast_v1_grant_proto, holdfastv1.File_holdfast_v1_error_reason_proto,
}

func thePage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestThePageShowsAllOfTheContract(t *testing.T) {
	text := thePage(t)
	var want []string
	messages := func(all protoreflect.MessageDescriptors) {
		for i := range all.Len() {
			want = append(want, "### "+string(all.Get(i).Name())+"\n")
			for j := range all.Get(i).Fields().Len() {
				want = append(want, "| `"+string(all.Get(i).Fields().Get(j).Name())+"` | ")
			}
		}
	}
	for _, f := range files {
		messages(f.Messages())
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			want = append(want, "## "+string(s.Name())+"\n")
			for j := range s.Methods().Len() {
				want = append(want, "### "+string(s.Methods().Get(j).Name())+"\n")
			}
		}
		for i := range f.Enums().Len() {
			e := f.Enums().Get(i)
			for j := range e.Values().Len() {
				v := e.Values().Get(j)
				if e.Name() != reasons {
					want = append(want, "| `"+string(v.Name())+"` | ")
				} else if v.Number() != 0 {
					want = append(want, "| `"+strings.TrimPrefix(string(v.Name()), "ERROR_REASON_")+"` | ")
				}
			}
		}
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the page has no %q", w)
		}
	}
	for _, rule := range []string{"*Rule: at most 512 bytes.*", "*Rule: at least 0s, at most 24h0m0s.*", "each matches `^[!#-", "*Rule: empty, or matches `^[a-z0-9._-]{1,64}$`.*", "*One of `selector`, one is required.*", "*Rule: required.*"} {
		if !strings.Contains(text, rule) {
			t.Errorf("the page has no rule %q", rule)
		}
	}
}

func TestEachReasonNamesItsCode(t *testing.T) {
	_, table, _ := strings.Cut(thePage(t), "| reason | gRPC code | meaning |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	row := regexp.MustCompile("^\\| `[A-Z_]+` \\| [A-Z_]+(, with (RetryInfo|BadRequest))? \\| [A-Z].*\\. \\|$")
	lines := strings.Split(table, "\n")[1:]
	for _, line := range lines {
		if !row.MatchString(line) {
			t.Errorf("not a reason with its code and meaning: %s", line)
		}
	}
	if want := len(holdfastv1.ErrorReason_name) - 1; len(lines) != want {
		t.Errorf("%d rows, want %d", len(lines), want)
	}
}

func TestNoLinkLeadsNowhere(t *testing.T) {
	text := thePage(t)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		anchor := strings.ToLower(strings.NewReplacer(" ", "-", ".", "").Replace(m[1]))
		if anchors[anchor] {
			t.Errorf("two headings have the anchor %s", anchor)
		}
		anchors[anchor] = true
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		if !anchors[m[1]] {
			t.Errorf("a link leads to #%s, which is no heading", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^#)][^)]*)\)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat("../../docs/" + m[1]); err != nil {
			t.Errorf("a link leads to %s: %v", m[1], err)
		}
	}
}
