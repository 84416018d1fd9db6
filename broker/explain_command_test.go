package broker

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

func TestARefusalNamesTheCommandThatExplainsIt(t *testing.T) {
	address := storage.Address{Tenant: "acme", Subject: "automation", Product: "jira", Name: storage.DefaultName}
	many := strings.Split(strings.Repeat("g,", 40)+"g", ",")
	for _, row := range []struct {
		name    string
		request policy.Request
		words   []string // after "holdfast policy explain"
	}{
		{"a certificate", policy.Request{Caller: "reports", Kind: "x509", Action: policy.Draw, Address: address},
			[]string{"--caller", "reports", "--action", "draw", "--grant", "acme/automation/jira"}},
		{"a workload with groups", policy.Request{Caller: "spiffe://example.org/ns/a", Kind: "spiffe", Groups: []string{"/ns", "/ns/a b"}, Action: policy.Operate},
			[]string{"--caller", "spiffe://example.org/ns/a", "--kind", "spiffe", "--group", "/ns", "--group", "/ns/a b", "--action", "operate"}},
		{"a token whose claims a stranger chose", policy.Request{Caller: "ci:refs/heads/$(touch x)`id`'; rm -rf ~; echo '", Kind: "jwt", Groups: []string{"*", ""}, Action: policy.Read},
			[]string{"--caller", "ci:refs/heads/$(touch x)`id`'; rm -rf ~; echo '", "--kind", "jwt", "--group", "*", "--group", "", "--action", "read"}},
		{"two lines", policy.Request{Caller: "a\nreboot", Kind: "x509", Action: policy.Read}, []string{"--caller", "a\nreboot", "--action", "read"}},
		{"too many groups", policy.Request{Caller: "a", Kind: "x509", Groups: many, Action: policy.Read},
			append(append([]string{"--caller", "a"}, strings.Split(strings.Repeat("--group,g,", mostGroupsNamed)+"--action", ",")...), "read")},
	} {
		command := explainCommand(&row.request)
		arguments, found := strings.CutPrefix(command, "holdfast policy explain ")
		if message := notAllowed(&row.request).Message; !found || !strings.Contains(message, "`"+command+"`") {
			t.Errorf("%s: %q is not in %q", row.name, command, message)
		}
		// What a shell makes of it.
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `for a in `+arguments+`; do printf '%s\0' "$a"; done`)
		cmd.Dir = t.TempDir()
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(row.words, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")); d != "" {
			t.Errorf("%s (-want +what a shell reads):\n%s", row.name, d)
		}
	}
}
