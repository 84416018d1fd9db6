package rpc

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
	"github.com/holdfast-io/holdfast/broker/identity/identitytest"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// tokenRig is a server that believes tokens of one issuer beside certificates.
type tokenRig struct {
	*rig
	issuer *identitytest.Issuer
	key    identitytest.Key
	conn   *grpc.ClientConn // without a certificate
}

func newTokenRig(t *testing.T, change ...func(*identity.Issuer)) *tokenRig {
	t.Helper()
	r := &tokenRig{issuer: identitytest.NewIssuer(t), key: identitytest.NewKey(t, "one", "RS256")}
	r.issuer.Publish(r.key)
	ca := newAuthority(t)
	r.rig = newRigOf(t, ca, nil, func(c *Config) {
		i := identity.Issuer{
			URL: r.issuer.URL(), Audience: "holdfast", Client: r.issuer.Client(),
			Name: "ci:{sub}", Groups: []string{"ci:{groups}"}, Leeway: 30 * time.Second,
		}
		for _, f := range change {
			f(&i)
		}
		trust, err := identity.New(identity.Config{
			Roots: ca.pool, Name: identity.Listed([]string{mapped}), Issuers: []identity.Issuer{i},
			Log: c.Log, Now: c.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Trust = trust
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan struct{})
		go func() { defer close(ran); trust.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-ran })
	})
	r.broker.allowAll = true
	r.conn = r.dial("")
	return r
}

func bearer(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func (r *tokenRig) ask(t *testing.T, token string) error {
	t.Helper()
	_, err := holdfastv1.NewTokenServiceClient(r.conn).GetAccessToken(bearer(t.Context(), token), hotRequest())
	return err
}

func TestATokenNamesItsCaller(t *testing.T) {
	r := newTokenRig(t)
	token := r.key.Sign(t, r.issuer.Claims(map[string]any{"groups": []string{"writers", "readers"}}))
	for range 2 { // the second comes from the cache
		if err := r.ask(t, token); err != nil {
			t.Fatal(err)
		}
		_, c, _ := r.broker.last()
		want := broker.Caller{Name: "ci:reports", Kind: broker.CallerJWT, Groups: []string{"ci:readers", "ci:writers"}, NotAfter: c.NotAfter, RequestID: c.RequestID}
		if diff := cmp.Diff(want, c); diff != "" || time.Until(c.NotAfter) < 59*time.Minute {
			t.Errorf("ends at %v; (-want +got)\n%s", c.NotAfter, diff)
		}
	}
	if n := r.issuer.Reads(); n != 1 {
		t.Errorf("the keys were read %d times, want once", n)
	}
}

// unsigned makes a token of a header and claims, with whatever as signature.
func unsigned(t *testing.T, header, claims map[string]any, signature string) string {
	t.Helper()
	var parts []string
	for _, p := range []any{header, claims} {
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	return strings.Join(append(parts, signature), ".")
}

func TestTokensThatAreNotBelieved(t *testing.T) {
	r := newTokenRig(t)
	good := func(changes map[string]any) string { return r.key.Sign(t, r.issuer.Claims(changes)) }
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	other := identitytest.NewKey(t, "one", "RS256")
	elliptic := identitytest.NewKey(t, "one", "ES256")
	public, err := x509.MarshalPKIXPublicKey(r.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	whole := good(nil)
	rows := []struct{ name, token, part string }{
		{"good", whole, ""},
		{"good for two audiences", good(map[string]any{"aud": []string{"other", "holdfast"}}), ""},
		{"expired within the leeway", good(map[string]any{"exp": in(-20 * time.Second)}), ""},
		{"of a clock that is ahead within the leeway", good(map[string]any{"nbf": in(20 * time.Second), "iat": in(20 * time.Second)}), ""},
		{"expired", good(map[string]any{"exp": in(-40 * time.Second)}), "has expired"},
		{"not yet valid", good(map[string]any{"nbf": in(45 * time.Second)}), "not valid yet"},
		{"issued in the future", good(map[string]any{"iat": in(45 * time.Second)}), "not valid yet"},
		{"without an end", good(map[string]any{"exp": nil}), "never expires"},
		{"for another audience", good(map[string]any{"aud": "other"}), `another audience; fetch one for "holdfast"`},
		{"for no audience", good(map[string]any{"aud": nil}), "another audience"},
		{"of another issuer", good(map[string]any{"iss": "https://other.example.com"}), "issuer that the broker is not configured for"},
		{"of an issuer that differs by a slash", good(map[string]any{"iss": r.issuer.URL() + "/"}), "issuer that the broker is not configured for"},
		{"without a subject", good(map[string]any{"sub": nil}), "claim sub: it is missing"},
		{"of a subject with a line break", good(map[string]any{"sub": "a\nb"}), "printable"},
		{"by alg none", unsigned(t, map[string]any{"alg": "none", "kid": "one"}, r.issuer.Claims(nil), ""), "not signed with an algorithm"},
		{"by alg None", unsigned(t, map[string]any{"alg": "None", "kid": "one"}, r.issuer.Claims(nil), ""), "not signed with an algorithm"},
		{"by the public key as a shared secret", identitytest.Signed(t, "HS256", "one", public, r.issuer.Claims(nil)), "not signed with an algorithm"},
		{"by an algorithm that is not the key's", elliptic.Sign(t, r.issuer.Claims(nil)), "does not publish"},
		{"by another key under the same id", other.Sign(t, r.issuer.Claims(nil)), "signature"},
		{"by an unknown key", identitytest.NewKey(t, "two", "RS256").Sign(t, r.issuer.Claims(nil)), "does not publish"},
		{"with a changed signature", whole[:len(whole)-8] + "AAAAAAAA", "signature"},
		{"that is none", "secret-text", "no JSON Web Token"},
		{"that is empty", "", "no JSON Web Token"},
		{"that is too long", strings.Repeat("a", 17<<10), "longer than"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			before, _, _ := r.broker.last()
			s := status.Convert(r.ask(t, row.token))
			after, _, _ := r.broker.last()
			if row.part == "" {
				if s.Code() != codes.OK {
					t.Fatalf("got %v", s)
				}
				return
			}
			if s.Code() != codes.Unauthenticated || !strings.Contains(s.Message(), row.part) || !strings.Contains(s.Message(), ";") {
				t.Errorf("got %v, want Unauthenticated with %q and what to do", s, row.part)
			}
			if before != after {
				t.Error("the broker was called")
			}
			if len(row.token) > 8 && strings.Contains(fmt.Sprint(s, s.Details()), row.token[len(row.token)-8:]) {
				t.Errorf("the refusal holds the token: %v", s)
			}
		})
	}
	if text := r.log.String(); strings.Contains(text, whole[len(whole)-20:]) {
		t.Errorf("the log holds a token:\n%s", text)
	}
}

func TestACallShowsOneIdentity(t *testing.T) {
	r := newTokenRig(t)
	good := r.key.Sign(t, r.issuer.Claims(nil))
	certified := r.dial(mapped)
	rows := []struct {
		name string
		conn *grpc.ClientConn
		ctx  context.Context
		part string
	}{
		{"a certificate alone", certified, t.Context(), ""},
		{"a token alone", r.conn, bearer(t.Context(), good), ""},
		{"a certificate and a token", certified, bearer(t.Context(), good), "leave one of them out"},
		{"a certificate and a bad token", certified, bearer(t.Context(), "bad"), "leave one of them out"},
		{"two tokens", r.conn, bearer(bearer(t.Context(), good), good), "several authorization headers"},
		{"another scheme", r.conn, metadata.AppendToOutgoingContext(t.Context(), "authorization", "Basic eDp5"), "no bearer token"},
		{"nothing", r.conn, t.Context(), "shows no identity"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := holdfastv1.NewTokenServiceClient(row.conn).GetAccessToken(row.ctx, hotRequest())
			if s := status.Convert(err); (row.part == "") != (err == nil) || !strings.Contains(s.Message(), row.part) {
				t.Errorf("got %v, want %q", err, row.part)
			}
		})
	}
}

func TestATokenEndsWithItsKeyAndANewKeyIsFoundByItself(t *testing.T) {
	r := newTokenRig(t)
	first := r.key.Sign(t, r.issuer.Claims(nil))
	if err := r.ask(t, first); err != nil {
		t.Fatal(err)
	}
	next := identitytest.NewKey(t, "two", "RS256")
	second := next.Sign(t, r.issuer.Claims(nil))
	r.issuer.Publish(next)
	if err := r.ask(t, first); err != nil {
		t.Fatalf("before the keys were read again: %v", err)
	}
	if err := r.ask(t, second); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("a new key just after a read: %v, want a refusal until the keys may be read again", err)
	}
	r.clock.advance(11 * time.Second)
	if err := r.ask(t, second); err != nil {
		t.Fatalf("a new key: %v", err)
	}
	if err := r.ask(t, first); status.Code(err) != codes.Unauthenticated {
		t.Fatalf("a token of a key that is gone: %v", err)
	}
	if n := r.issuer.Reads(); n != 2 {
		t.Errorf("the keys were read %d times, want 2", n)
	}
}

func TestAStandingStreamEndsWithWhatAllowedIt(t *testing.T) {
	r := newTokenRig(t)
	watch := func(ctx context.Context, conn *grpc.ClientConn) grpc.ServerStreamingClient[healthpb.HealthCheckResponse] {
		t.Helper()
		w, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	byToken := watch(bearer(t.Context(), r.key.Sign(t, r.issuer.Claims(nil))), r.conn)
	byCertificate := watch(t.Context(), r.dial(mapped))

	// The key goes: the token's stream ends, the certificate's goes on.
	next := identitytest.NewKey(t, "two", "RS256")
	r.issuer.Publish(next)
	r.clock.advance(11 * time.Second)
	if err := r.ask(t, next.Sign(t, r.issuer.Claims(nil))); err != nil {
		t.Fatal(err)
	}
	if _, err := byToken.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream of a token whose key is gone: %v", err)
	}
	r.server.SetServing(true)
	if a, err := byCertificate.Recv(); err != nil || a.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("the stream of a certificate: %v, %v", a, err)
	}

	// The authority goes: the certificate's stream ends too.
	r.config.Trust.SetRoots(newAuthority(t).pool)
	if _, err := byCertificate.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream of a certificate whose authority is gone: %v", err)
	}
}

// held is a transport that sends nothing before hold is closed.
type held struct {
	http.RoundTripper
	hold <-chan struct{}
}

func (h held) RoundTrip(req *http.Request) (*http.Response, error) {
	<-h.hold
	return h.RoundTripper.RoundTrip(req)
}

func heldBack(c *http.Client, hold <-chan struct{}) *http.Client {
	return &http.Client{Transport: held{c.Transport, hold}}
}
