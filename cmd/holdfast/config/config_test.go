package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// whole is a file that uses every key; rows of the tests below change it.
const whole = `environment: production
public_url: https://holdfast.example.com
store:
  dir: store
keys:
  kek_file: files/kek
grpc:
  listen: ":7443"
http:
  listen: ":7080"
  behind_proxy: true
metrics:
  listen: 127.0.0.1:7090
tls:
  cert_file: files/tls.crt
  key_file: files/tls.key
  client_ca_file: files/ca.crt
provider:
  profile: atlassian
  proxy_url: http://proxy.example.com:3128
  ca_file: files/ca.crt
  http_timeout: 20s
  lease: 45s
  clock_margin: 5s
  rate: 25
  burst: 50
  concurrency: 8
apps:
  - id: jira
    products: [jira]
    client_id: abc
    client_secret_files: [files/secret]
    scopes:
      jira: ["read:jira-work"]
callers:
  - name: spiffe://example.com/sync
    grants: ["acme/*/jira"]
    consents: ["acme/*/*"]
  - name: operator
    admin: true
audit:
  file: audit.log
log:
  level: debug
  format: json
return_urls: [https://portal.example.com]
limits:
  caller_rate: 500
  caller_burst: 700
  callers: [{name: operator, rate: 50}]
  connections: 500
  connections_per_caller: 300
  strangers: 50
  http_connections: 70
  watches: 60
  watches_per_caller: 6
  grant_rate: 80
  grant_burst: 90
  waiting_calls: 110
  waiting_calls_per_grant: 11
`

// dir makes the files that whole names.
func dir(t *testing.T) string {
	t.Helper()
	d := t.TempDir()
	if err := os.Mkdir(filepath.Join(d, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(d, "files"), map[string]string{
		"tls.crt": devca.ServerCert, "tls.key": devca.ServerKey, "ca.crt": devca.CACert,
	})
	write(t, filepath.Join(d, "files", "secret"), "hunter2\n")
	return d
}

// fill makes a KEK and certificates in d, under the names that want gives them.
func fill(t *testing.T, d string, want map[string]string) {
	t.Helper()
	_, err := seal.CreateFile(filepath.Join(d, "kek"))
	made := t.TempDir()
	if err = errors.Join(err, devca.Ensure(made, "someone", time.Now())); err != nil {
		t.Fatal(err)
	}
	for name, from := range want {
		b, err := os.ReadFile(filepath.Join(made, from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d, name), string(b))
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAWholeFileDecodes(t *testing.T) {
	d := dir(t)
	path := filepath.Join(d, "holdfast.yaml")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	got, warnings, err := Load(path)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("Load: %v, warnings %v", err, warnings)
	}
	in := func(name string) string { return filepath.Join(d, name) }
	want := &Config{
		Environment: "production", PublicURL: "https://holdfast.example.com",
		Store: Store{Kind: StoreBadger, Dir: in("store"), WitnessFile: in("store.witness")}, Keys: Keys{KEKFile: in("files/kek")},
		GRPC: GRPC{Listen: ":7443"}, HTTP: HTTP{Listen: ":7080", BehindProxy: true}, Metrics: Metrics{Listen: "127.0.0.1:7090"},
		TLS: TLS{CertFile: in("files/tls.crt"), KeyFile: in("files/tls.key"), ClientCAFile: in("files/ca.crt")},
		Provider: Provider{
			Profile: "atlassian", ProxyURL: "http://proxy.example.com:3128", CAFile: in("files/ca.crt"),
			HTTPTimeout: 20 * time.Second, Lease: 45 * time.Second, ClockMargin: 5 * time.Second,
			Rate: 25, Burst: 50, Concurrency: 8,
		},
		Apps: []App{{
			ID: "jira", Products: []string{"jira"}, ClientID: "abc",
			ClientSecretFiles: []string{in("files/secret")}, Scopes: map[string][]string{"jira": {"read:jira-work"}},
		}},
		Callers: []Caller{
			{Name: "spiffe://example.com/sync", Grants: []string{"acme/*/jira"}, Consents: []string{"acme/*/*"}},
			{Name: "operator", Admin: true},
		},
		Audit: Audit{File: in("audit.log"), Level: "written"}, Log: Log{Level: "debug", Format: "json"},
		ReturnURLs: []string{"https://portal.example.com"},
		Limits:     Limits{CallerRate: 500, CallerBurst: 700, Callers: []CallerLimit{{"operator", 50, 100}}, Connections: 500, ConnectionsPerCaller: 300, Strangers: 50, HTTPConnections: 70, Watches: 60, WatchesPerCaller: 6, GrantRate: 80, GrantBurst: 90, WaitingCalls: 110, WaitingCallsPerGrant: 11},
	}
	if got.Provider.Resolved.Leeway != 10*time.Minute || got.Provider.Timing.Lease != 45*time.Second {
		t.Fatalf("the profile or the timing was not resolved: %+v", got.Provider.Timing)
	}
	got.Provider.Resolved, got.Provider.Timing = want.Provider.Resolved, want.Provider.Timing
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Overrides{})); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func TestOverridesReplaceFieldsOfTheProfile(t *testing.T) {
	text := strings.Replace(whole, "profile: atlassian\n", `profile: oauth2
  in_doubt: lapse
  overrides:
    authorize_url: https://id.example.com/auth
    token_url: https://id.example.com/token
    account_url: https://id.example.com/me
    access_grace: 90s
    pkce: false
    authorize_params: {audience: x}
    errors:
      - {status: 418, error: teapot, class: transient, code: teapot}
`, 1)
	c, _, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Provider.Resolved
	if p.TokenURL != "https://id.example.com/token" || p.AccessGrace != 90*time.Second || p.PKCE ||
		len(p.Errors) != 1 || p.Errors[0].Status != 418 || p.Errors[0].Class != atlassian.ErrorTransient || len(p.AuthorizeParams) != 1 {
		t.Fatalf("the overrides did not arrive: %+v", p)
	}
}

// Each row replaces one text of the whole file by another and names what must be reported.
func TestEachProblemIsReportedWithItsLine(t *testing.T) {
	app := "apps:\n  - id: jira\n    products: [jira]\n    client_id: abc\n"
	rows := []struct{ name, old, new, want string }{
		{"unknown key", "clock_margin: 5s", "clock_margn: 5s", `24: provider.clock_margn: unknown key; did you mean clock_margin?`},
		{"unknown key without a likeness", "  level: debug", "  rotation: daily", "44: log.rotation: unknown key; known here: format, level"},
		{"key twice", "  level: debug", "  level: debug\n  level: info", "45: log.level: the key is here a second time (first in line 44); keep one"},
		{"number as text", "client_id: abc", "client_id: 12345", `31: apps[0].client_id: want a text, not the number 12345; put it in quotes: "12345"`},
		{"text as list", "products: [jira]", "products: jira", `30: apps[0].products: want a list, not the text "jira"; write [a, b] or one "- item" a line`},
		{"list as section", "  level: debug\n  format: json", "  - debug", "44: log: want a section of keys, not a list"},
		{"text as truth", "behind_proxy: true", "behind_proxy: please", `11: http.behind_proxy: want true or false, not the text "please"`},
		{"duration without unit", "lease: 45s", "lease: 45", `23: provider.lease: want a duration with its unit, such as "30s" or "10m", not the number 45`},
		{"duration misspelt", "lease: 45s", "lease: 45 sec", `23: provider.lease: want a duration with its unit, such as "30s" or "10m", not "45 sec"`},
		{"negative duration", "lease: 45s", "lease: -45s", "23: provider.lease: a negative duration: -45s"},
		{"unknown profile", "profile: atlassian", "profile: atlasian", `19: provider.profile: profile "atlasian": there is none of that name; choose one of atlassian`},
		{"unknown override", "profile: atlassian", "overrides: {tokn_url: x}", "19: provider.overrides.tokn_url: unknown key; did you mean token_url?"},
		{"plain override", "profile: atlassian", "overrides:\n    token_url: http://id.example.com", "20: provider.overrides.token_url: http would send secrets in the clear"},
		{"a lease beyond the leeway", "lease: 45s", "lease: 10m", "18: provider: 3 x (lease 10m0s + HTTP timeout 20s) + clock margin 5s"},
		{"a rate beyond reason", "rate: 25", "rate: 500000", `25: provider.rate: 500000 is not from 1 to 100000`},
		{"a burst without a half", "burst: 50", "burst: 1", `provider.burst: 1 is not from 2 to 100000`},
		{"a negative concurrency", "concurrency: 8", "concurrency: -1", `provider.concurrency: -1 is not from 2 to 1000`},
		{"no leeway and no rule for doubt", "profile: atlassian", "overrides: {leeway: 0s}", `provider.in_doubt: the provider has no leeway: say what an in-doubt attempt becomes, "last_try" or "lapse"`},
		{"a proxy without scheme", "proxy_url: http://", "proxy_url: ", "20: provider.proxy_url: want an http or https URL"},
		{"a password in the proxy's URL", "http://proxy", "http://me:hunter2@proxy", "20: provider.proxy_url: a password does not belong into this file; move the URL into a file and name it in proxy_url_file"},
		{"missing", "environment: production\n", "", "environment: missing; name it"},
		{"missing in a section", "  dir: store", "  dir:", "4: store.dir: missing; give the directory"},
		{"plain public URL", "https://holdfast.example.com", "http://holdfast.example.com", "2: public_url: \"http://holdfast.example.com\": want https"},
		{"public URL with the callback's path", "https://holdfast.example.com", "https://holdfast.example.com/oauth/callback", "2: public_url: \"https://holdfast.example.com/oauth/callback\": want scheme and host only; the callback URL to register"},
		{"no such file", "kek_file: files/kek", "kek_file: files/none", "6: keys.kek_file: open "},
		{"two apps and no default", app, app + "    client_secret_files: [files/secret]\n    scopes: {jira: [\"read:jira-work\"]}\n  - id: other\n    products: [jira]\n    client_id: def\n", "34: apps[1]: jira has 2 apps (jira, other) and none is the default; set default: true on one"},
		{"one client in two apps", app, app + "    client_secret_files: [files/secret]\n    scopes: {jira: [\"read:jira-work\"]}\n  - id: other\n    products: [confluence]\n    client_id: abc\n", `36: apps[1].client_id: "abc" is used twice (first in line 31)`},
		{"unknown product", "products: [jira]", "products: [jra]", `30: apps[0].products[0]: "jra" is no product of this provider; did you mean jira?`},
		{"scopes of another product", "      jira: [", "      confluence: [", `34: apps[0].scopes.confluence: the app is not for "confluence"`},
		{"no scopes", "      jira: [\"read:jira-work\"]", "      jira: []", "34: apps[0].scopes.jira: missing; list what to ask for"},
		{"a scope that breaks consent", "read:jira-work", "openid", `34: apps[0].scopes.jira[0]: "openid" breaks the provider's consent`},
		{"three secrets", "[files/secret]", "[files/secret, files/secret, files/secret]", "32: apps[0].client_secret_files: 3 files; want one, or two"},
		{"a bad pattern", "acme/*/jira", "acme/jira", `37: callers[0].grants[0]: pattern "acme/jira": want tenant/subject/product`},
		{"a caller twice", "name: operator", "name: spiffe://example.com/sync", `39: callers[1].name: "spiffe://example.com/sync" is listed twice (first in line 36); merge the two`},
		{"a wildcard for a caller", "name: operator", "name: \"*\"", `39: callers[1].name: "*": a name has no wildcards`},
		{"a proxy and a certificate", "behind_proxy: true", "behind_proxy: true\n  cert_file: a\n  key_file: b", "11: http.behind_proxy: contradicts http.cert_file and http.key_file"},
		{"one port twice", "listen: \":7080\"", "listen: \":7443\"", `10: http.listen: ":7443" is the address of grpc.listen as well`},
		{"no port", "127.0.0.1:7090", "127.0.0.1", `13: metrics.listen: "127.0.0.1": want host:port`},
		{"log level", "level: debug", "level: loud", `log.level: "loud": want one of debug, info, warn, error`},
		{"return URL with a path", "[https://portal.example.com]", "[https://portal.example.com/done]", "return_urls[0]: \"https://portal.example.com/done\": want an https origin without a path"},
		{"an alias", "level: debug", "level: &a debug", "log.level: anchors, aliases and tags are not understood here"},
		{"a second document", "return_urls:", "---\nreturn_urls:", "a second document begins here"},
		{"no YAML at all", "environment: production", "environment: [", "holdfast.yaml:1: not YAML: "},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			text := strings.Replace(whole, row.old, row.new, 1)
			if text == whole {
				t.Fatalf("the file has no %q to replace", row.old)
			}
			_, _, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(text))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("want a problem with\n  %s\ngot\n  %v", row.want, err)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	_, _, err := Parse("holdfast.yaml", []byte("environment: 3\npublic_url: nowhere\ngrcp:\n  listen: x\nlog: {level: loud}\n"))
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	want := []string{
		"store.dir", "keys.kek_file", "audit.file", "tls.cert_file", "tls.key_file", "tls.client_ca_file", "apps",
		"environment", "public_url", "grcp", "log.level",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s\n%v", diff, err)
	}
}

func TestAnEmptyFileSaysWhatIsMissing(t *testing.T) {
	_, _, err := Parse("holdfast.yaml", nil)
	if err == nil || !strings.Contains(err.Error(), "holdfast.yaml: environment: missing") {
		t.Fatalf("got %v", err)
	}
}

func TestRisksAreWarnings(t *testing.T) {
	text := strings.NewReplacer(
		"products: [jira]", "products: [jira, confluence]",
		`jira: ["read:jira-work"]`, `{jira: ["read:jira-work", offline_access], confluence: ["read:page:confluence"]}`,
		"admin: true", "admin: false",
	).Replace(whole)
	_, warnings, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`30: apps[0].products: app "jira" is shared`, "offline_access is added by itself", `"operator" may do nothing`} {
		if !strings.Contains(warnings.Error(), want) {
			t.Errorf("no warning %q in\n%v", want, warnings)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &x\n- *x\n? [b]\n: !!int c"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _, err := Parse("holdfast.yaml", text)
		if (c == nil) != (err != nil) {
			t.Fatalf("configuration %v with error %v", c, err)
		}
	})
}
