package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
)

// serving are the verbs that go on, or write where their arguments say: of these the
// command line is read and checked, and that is all.
var serving = []string{"serve", "dev", "sim", "backup", "restore", "keys", "doctor", "exec"}

// still makes the verbs below cmd do nothing but read their arguments.
func still(cmd *cobra.Command) {
	if cmd.RunE != nil {
		cmd.RunE = func(*cobra.Command, []string) error { return nil }
	}
	for _, sub := range cmd.Commands() {
		still(sub)
	}
}

// FuzzArguments gives the program any command line, in a directory without
// anything, and to a context that has ended: it comes to an end, it says something
// if that is no success, and nothing that is typed is an internal error.
func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"", "token get acme/automation/jira", "token get", "token get a b", "token get --min-ttl 5m --scope a --site x acme/a/jira -o json",
		"token get a/b/c --format env --prefix X", "exec a/b/c -- true", "exec a/b/c --as-file true", "exec -- true", "token report acme/a/jira --generation 3 --status 401", "token report x --generation -1 --status 99999999999",
		"grants list --tenant acme --phase lapsed", "grants list --phase none", "grants show grt_abcdefghijklmnopqrstuvwxyz", "grants revoke a/b/c --dry-run --reason x",
		"grants purge a/b/c --yes", "grants adopt --yes", "consent start a/b/c --return-url https://x", "apps pause jira --reason x", "status -o yaml",
		"audit verify", "audit verify --key x --checkpoint y z", "audit who-had --fingerprint hf1:x", "audit who-had --leaked -", "audit who-had --grant a/b",
		"policy schema", "policy check none", "policy test none", "policy explain --caller a --action draw --grant a/b/c",
		"completion bash", "completion tcsh", "help grants", "version", "--version", "-h", "--", "-", "gratns list", "__complete grants show ",
		"serve --config x --check", "dev --dir x", "sim --app client_id=a", "keys rotate --watch", "keys create --out x", "backup --out", "restore",
		"status --addr 127.0.0.1:1 --ca x --cert y --key z --timeout 1s", "status --addr :::: --timeout -1s", "status --token-file x --server-name \x1b[31m",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\n"), "")
	}
	f.Add("client_id=a secret=b callback=https://x scopes=a,b", "y\n")
	f.Chdir(f.TempDir())
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "HOLDFAST_") {
			f.Setenv(name, "")
		}
	}
	f.Fuzz(func(t *testing.T, line, input string) {
		args := strings.Split(line, "\n")
		if len(args) > 30 || strings.Contains(line, "/dev") || strings.Contains(line, "/proc") || strings.Contains(line, "/sys") {
			return // files without an end
		}
		if apps, err := parseSimApps(args, "https://x.example/callback"); err == nil && len(apps) != len(args) {
			t.Errorf("%q are %d apps", args, len(apps))
		}
		var out, problems bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		root := newRoot(streams{strings.NewReader(input), &out, &problems})
		for _, name := range serving {
			if verb, _, err := root.Find([]string{name}); err == nil {
				still(verb)
			}
		}
		root.SetArgs(args)
		cmd, err := root.ExecuteContextC(ctx)
		code := report(cmd, err, &problems)
		if code == client.ExitInternal || code < 0 || code > client.ExitUnavailable {
			t.Errorf("%q: exit code %d\n%s", args, code, problems.String())
		}
		if code != client.ExitOK && problems.Len() == 0 {
			t.Errorf("%q: exit code %d, and nothing says why", args, code)
		}
		if utf8.ValidString(line) && !utf8.Valid(problems.Bytes()) {
			t.Errorf("%q: what is said is no text: %q", args, problems.String())
		}
	})
}
