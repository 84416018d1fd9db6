package leaks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/identity/identitytest"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// presented are bearer tokens that a caller may show, good and bad.
type presented struct {
	name, token string
	// cert is the caller whose certificate is shown with it, if any.
	cert string
	// good: its caller is let in. known: its caller is known, and may be named.
	good, known bool
}

// vouchers vouch for callers other than those with certificates of the deployment's.
type vouchers struct {
	issuer *identitytest.Issuer
	key    identitytest.Key
	domain *identitytest.Authority
}

func newVouchers(t *testing.T) *vouchers {
	v := &vouchers{issuer: identitytest.NewIssuer(t), key: identitytest.NewKey(t, "one", "RS256"), domain: identitytest.NewAuthority(t, "example.org")}
	v.issuer.Publish(v.key)
	return v
}

const spiffeID = "spiffe://example.org/ns/prod/sa/reports"

// configure lets the vouchers' callers in. The files are named in the deployment's
// directory, which write fills.
func (v *vouchers) configure(_ *scanner, s *rig.Setup) {
	s.Callers += fmt.Sprintf("  - {name: \"ci:reports\", grants: [acme/*/jira]}\n  - {name: %q, grants: [acme/*/jira]}\n", spiffeID)
	s.More += fmt.Sprintf(`identity:
  spiffe:
    trust_domains: [example.org]
    bundles: [{trust_domain: example.org, file: example.org.pem}]
  jwt:
    - {issuer: %q, audience: holdfast, jwks_url: %q, ca_file: issuer.pem, name: "ci:{sub}"}
`, v.issuer.URL(), v.issuer.KeysURL())
}

func (v *vouchers) write(w *world) {
	w.t.Helper()
	for name, text := range map[string][]byte{"example.org.pem": v.domain.PEM(), "issuer.pem": v.issuer.CA()} {
		if err := os.WriteFile(filepath.Join(w.Dir, name), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// tokens makes one of each kind; all that is random in them is known to the scanner.
func (v *vouchers) tokens(w *world) []presented {
	w.t.Helper()
	foreign := identitytest.NewKey(w.t, "one", "RS256")
	hour := func(n int) int64 { return time.Now().Add(time.Duration(n) * time.Hour).Unix() }
	claims := func(changes map[string]any) map[string]any {
		changes["jti"] = w.canary(bearerToken)
		return v.issuer.Claims(changes)
	}
	good := v.key.Sign(w.t, claims(map[string]any{}))
	list := []presented{
		{name: "a good one", token: good, good: true, known: true},
		{name: "one with a certificate", token: good, cert: integration},
		{name: "an expired one", token: v.key.Sign(w.t, claims(map[string]any{"iat": hour(-3), "nbf": hour(-3), "exp": hour(-2)}))},
		{name: "one for somebody else", token: v.key.Sign(w.t, claims(map[string]any{"aud": w.canary(bearerToken)}))},
		{name: "one of another issuer", token: v.key.Sign(w.t, claims(map[string]any{"iss": "https://" + w.canary(bearerToken)}))},
		{name: "one of another key", token: foreign.Sign(w.t, claims(map[string]any{}))},
		{name: "one of nobody", token: v.key.Sign(w.t, claims(map[string]any{"sub": "stranger"})), known: true},
		{name: "one cut short", token: good[:len(good)-20]},
		{name: "one without a signature", token: good[:strings.LastIndex(good, ".")+1]},
		{name: "no token", token: w.canary(bearerToken)},
		{name: "no token, in three parts", token: w.canary(bearerToken) + "." + w.canary(bearerToken) + "." + w.canary(bearerToken)},
		{name: "a refresh token", token: w.canary(refreshToken)},
	}
	for _, p := range list {
		for _, part := range strings.Split(p.token, ".")[1:] {
			// A payload has names in it that stand elsewhere by right: its canaries are known.
			if strings.Count(p.token, ".") == 2 && strings.HasSuffix(p.token, part) {
				w.scan.plant(bearerToken, part)
			}
		}
	}
	return list
}

// bearers calls with each token and returns the reasons of the refusals.
func (w *world) bearers(v *vouchers) (reasons []string) {
	w.t.Helper()
	for _, p := range v.tokens(w) {
		as := integration // for what a caller of grants may be answered
		c := callers{as: w.Bearer(w.t, p.cert, p.token), operator: w.Conn(w.t, operator)}
		for _, reason := range []string{
			w.do(c, as, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject), Purpose: "a-test"}),
			w.do(c, as, "ListMyGrants", &holdfastv1.ListMyGrantsRequest{}),
		} {
			if want := map[bool]string{p.known: "CALLER_NOT_ALLOWED", !p.known: "CALLER_UNAUTHENTICATED"}[true]; p.good && reason != "" || !p.good && reason != want {
				w.t.Errorf("%s: got %q", p.name, reason)
			}
			reasons = append(reasons, reason)
		}
		out, _ := w.tokenVerb(p.token)                                                     // refusals are looked at, too
		w.look("holdfast token get with "+p.name, out, mayHold(p.good || p.cert != "")...) // it shows no certificate
	}
	return reasons
}

func mayHold(good bool) []string {
	if good {
		return []string{accessToken}
	}
	return nil
}

// tokenVerb draws by the command line, with the bearer token in a file.
func (w *world) tokenVerb(token string) ([]byte, error) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "token") // not where files are looked at
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.Command("token", "get", "acme/"+subject+"/jira", "--addr", w.Where.GRPC, "--ca", filepath.Join(w.Dir, "ca.crt"), "--token-file", file).CombinedOutput()
}

// spiffe calls as a workload whose SVID lies in files, by the command line.
func (w *world) spiffe(v *vouchers) {
	w.t.Helper()
	svid := v.domain.SVID(spiffeID)
	cert, key := identitytest.Files(w.t, svid)
	dir := w.t.TempDir() // not where files are looked at
	for name, text := range map[string][]byte{"svid.pem": cert, "svid.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.plantKey(filepath.Join(dir, "svid.key"))
	args := []string{"--addr", w.Where.GRPC, "--ca", filepath.Join(w.Dir, "ca.crt"), "--cert", filepath.Join(dir, "svid.pem"), "--key", filepath.Join(dir, "svid.key")}
	for grant, found := range map[string]bool{"acme/" + subject + "/jira": true, "acme/" + subject + "/confluence": false} {
		out, err := w.Command(append([]string{"token", "get", grant}, args...)...).CombinedOutput()
		if (err == nil) != found {
			w.t.Errorf("%s as a workload with an SVID: %v\n%s", grant, err, out)
		}
		w.look("holdfast token get with an SVID", out, mayHold(found)...)
	}
}

// Whoever shows a bearer token or an SVID, good or bad, finds nothing of it in what
// the broker says of the call, in its log at the finest level or in its record.
func TestNothingOfABearerTokenOrAnSVIDIsSaidOrWritten(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			v := newVouchers(t)
			w := newWorldWith(t, format, "", "", v.configure)
			v.write(w)
			w.serve()
			w.consent(w.jira)
			w.consent(w.wiki)
			w.wants(w.bearers(v), "CALLER_UNAUTHENTICATED", "CALLER_NOT_ALLOWED")
			w.spiffe(v)
			w.metrics()
			w.server.Signal(t, quit)
			if err := w.server.Ended(t); err == nil {
				t.Error("SIGQUIT did not end the broker")
			}
			w.look("the log, and every goroutine", []byte(w.server.Output()))
			w.look("what the collector has of the audit record", w.collector.all())
			w.lookAtFiles()
			if n := w.scan.count()[bearerToken]; n < 15 {
				t.Errorf("%d parts of bearer tokens are known", n)
			}
		})
	}
}
