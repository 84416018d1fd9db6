package node

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker/identity/identitytest"
)

func TestCallersOfEachKindAndThoseWhoAreNot(t *testing.T) {
	w := newWorld(t, byFiles).start()
	elsewhere := identitytest.NewAuthority(t, "elsewhere.example")
	issue := func(a *identitytest.Authority, c identitytest.Certificate) *tls.Certificate {
		made := a.Issue(c)
		return &made
	}
	uri := func(text string) identitytest.Certificate { return identitytest.Certificate{URIs: []string{text}} }
	hour := func(n int) time.Time { return time.Now().Add(time.Duration(n) * time.Hour) }
	stranger := identitytest.NewKey(t, "two", "RS256")
	const in, out, no = codes.OK, codes.Unauthenticated, codes.PermissionDenied
	shut := codes.Unavailable // turned away in the handshake
	rows := []struct {
		name  string
		cert  *tls.Certificate
		token string
		want  codes.Code
	}{
		{"x509: a listed name", w.named(adminX509), "", in},
		{"x509: a name that is not listed", w.named("nobody"), "", no},
		{"x509: of another authority", issue(elsewhere, identitytest.Certificate{Subject: pkix.Name{CommonName: adminX509}}), "", shut},
		{"x509: expired", issue(w.ca, identitytest.Certificate{Subject: pkix.Name{CommonName: adminX509}, From: hour(-3), To: hour(-2)}), "", shut},
		{"x509: not yet valid", issue(w.ca, identitytest.Certificate{Subject: pkix.Name{CommonName: adminX509}, From: hour(2), To: hour(3)}), "", shut},
		{"x509: the name of a SPIFFE caller in the subject", w.named(adminSPIFFE), "", no},
		{"x509: the name of a SPIFFE caller in the subject, in capitals", w.named("SPIFFE://EXAMPLE.ORG/ns/prod/sa/operator"), "", no},
		{"x509: the name of a token's caller in the subject", w.named(adminJWT), "", no},
		{"x509: the SPIFFE ID of a trust domain, of the wrong authority", issue(w.ca, uri(adminSPIFFE)), "", shut},

		{"spiffe: a listed name", issue(w.domain, uri(adminSPIFFE)), "", in},
		{"spiffe: a name that is not listed", issue(w.domain, uri("spiffe://example.org/ns/dev/sa/x")), "", no},
		{"spiffe: of the wrong trust domain", issue(elsewhere, uri("spiffe://elsewhere.example/ns/prod/sa/operator")), "", shut},
		{"spiffe: of this trust domain, of another's authority", issue(elsewhere, uri(adminSPIFFE)), "", shut},
		{"spiffe: of another trust domain, of this one's authority", issue(w.domain, uri("spiffe://elsewhere.example/x")), "", shut},
		{"spiffe: no ID at all, of its authority", issue(w.domain, identitytest.Certificate{Subject: pkix.Name{CommonName: adminX509}}), "", shut},
		{"spiffe: two IDs", issue(w.domain, identitytest.Certificate{URIs: []string{adminSPIFFE, "spiffe://example.org/x"}}), "", shut},
		{"spiffe: the trust domain itself", issue(w.domain, uri("spiffe://example.org")), "", shut},
		{"spiffe: expired", issue(w.domain, identitytest.Certificate{URIs: []string{adminSPIFFE}, From: hour(-3), To: hour(-2)}), "", shut},
		{"spiffe: not yet valid", issue(w.domain, identitytest.Certificate{URIs: []string{adminSPIFFE}, From: hour(2), To: hour(3)}), "", shut},

		{"jwt: a listed service account", nil, w.projected("prod", "operator", nil), in},
		{"jwt: another service account", nil, w.projected("prod", "other", nil), no},
		{"jwt: another namespace", nil, w.projected("dev", "operator", nil), no},
		{"jwt: expired", nil, w.projected("prod", "operator", map[string]any{"exp": hour(-1).Unix()}), out},
		{"jwt: for the API server", nil, w.projected("prod", "operator", map[string]any{"aud": "https://kubernetes.default.svc"}), out},
		{"jwt: of another issuer", nil, w.projected("prod", "operator", map[string]any{"iss": "https://other.example.com"}), out},
		{"jwt: of an unknown key", nil, stranger.Sign(t, w.issuer.Claims(nil)), out},
		{"jwt: a namespace that would make another's name", nil, w.projected("prod:operator", "x", nil), out},
		{"both", w.named(adminX509), w.projected("prod", "operator", nil), out},
		{"nothing", nil, "", out},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := w.status(w.connect(row.cert), row.token)
			if status.Code(err) != row.want {
				t.Errorf("got %v, want %v", err, row.want)
			}
			if row.token != "" && strings.Contains(status.Convert(err).Message(), row.token[len(row.token)-20:]) {
				t.Errorf("the refusal holds the token: %v", err)
			}
		})
	}
	if text := w.log.String(); strings.Contains(text, "eyJ") {
		t.Errorf("the log holds something like a token:\n%s", text)
	}
}

func TestABundleChangeEndsItsCallersOnStandingConnectionsAndNobodyElse(t *testing.T) {
	w := newWorld(t, byFiles).start()
	svid := w.domain.SVID(adminSPIFFE)
	spiffe, x509, none := w.connect(&svid), w.connect(w.named(adminX509)), w.connect(nil)
	token := w.projected("prod", "operator", nil)
	watch, err := healthpb.NewHealthClient(x509).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	ok := func(err error) bool { return err == nil }
	refused := func(err error) bool { return status.Code(err) == codes.Unauthenticated }
	w.eventually("SPIFFE at first", func() error { return w.status(spiffe, "") }, ok)
	w.eventually("the token at first", func() error { return w.status(none, token) }, ok)

	w.write("example.org.crt", identitytest.NewAuthority(t, "example.org").PEM())
	w.eventually("SPIFFE after its authority went", func() error { return w.status(spiffe, "") }, refused)
	for name, err := range map[string]error{"x509": w.status(x509, ""), "the token": w.status(none, token)} {
		if err != nil {
			t.Errorf("%s after another's authority went: %v", name, err)
		}
	}
	w.write("example.org.crt", w.domain.PEM())
	w.eventually("SPIFFE on the same connection, after its authority came back", func() error { return w.status(spiffe, "") }, ok)

	// The stream that stood all the time has said nothing but its states.
	if a, err := watch.Recv(); err != nil {
		t.Fatalf("the stream of an x509 caller: %v, %v", a, err)
	}
	w.write("callers-ca.crt", identitytest.NewAuthority(t, "").PEM())
	w.eventually("x509 after its authority went", func() error { return w.status(x509, "") }, refused)
	for err == nil {
		_, err = watch.Recv()
	}
	if !refused(err) {
		t.Errorf("the stream of an x509 caller whose authority went: %v", err)
	}
}

func TestTheWorkloadAPIBringsBundlesAndTheServersOwnDocument(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent.sock")
	a := newAgent(t, socket)
	const own = "spiffe://example.org/holdfast"
	w := newWorld(t, `identity:
  spiffe:
    trust_domains: [example.org]
    workload_api: unix://`+socket+`
    serve_svid: true
# %[1]s %[2]s
`)
	a.set(own, w.domain.Issue(identitytest.Certificate{URIs: []string{own}, DNS: []string{"localhost"}}), w.domain)
	w.servers = identitytest.Pool(w.domain)
	w.start()
	svid := w.domain.SVID(adminSPIFFE)
	standing := w.connect(&svid)
	if err := w.status(standing, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.status(w.connect(nil), ""); status.Code(err) != codes.Unavailable {
		t.Errorf("without tokens configured, a client that shows nothing: %v, want it turned away", err)
	}

	// A new authority: the server's document and the callers' bundle change at once.
	next := identitytest.NewAuthority(t, "example.org")
	w.servers = identitytest.Pool(w.domain, next)
	a.set(own, next.Issue(identitytest.Certificate{URIs: []string{own}, DNS: []string{"localhost"}}), next)
	w.eventually("the old authority's caller on a standing connection", func() error { return w.status(standing, "") },
		func(err error) bool { return status.Code(err) == codes.Unauthenticated })
	w.servers = identitytest.Pool(next)
	renewed := next.SVID(adminSPIFFE)
	if err := w.status(w.connect(&renewed), ""); err != nil {
		t.Errorf("a caller of the new authority, who knows the server by it: %v", err)
	}
}

func TestAnAgentThatDoesNotAnswerFailsTheStartWithWhatToDo(t *testing.T) {
	w := newWorld(t, `identity:
  spiffe: {trust_domains: [example.org], workload_api: "unix:///nowhere/agent.sock"}
# %[1]s %[2]s
`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := Start(ctx, options(w.config))
	if err == nil || !strings.Contains(err.Error(), "is the agent running") {
		t.Fatalf("got %v", err)
	}
}

func TestTokensOutliveAnIssuerThatCannotBeReached(t *testing.T) {
	w := newWorld(t, byFiles).start()
	conn := w.connect(nil)
	if err := w.status(conn, w.projected("prod", "operator", nil)); err != nil {
		t.Fatal(err)
	}
	w.issuer.Down(true)
	if err := w.status(conn, w.projected("prod", "operator", map[string]any{"jti": "another"})); err != nil {
		t.Errorf("a new token of a known key while the issuer is down: %v", err)
	}
}
