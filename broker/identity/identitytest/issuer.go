package identitytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer makes tokens and publishes its keys by https, like an OpenID provider.
type Issuer struct {
	t      testing.TB
	server *httptest.Server

	mu    sync.Mutex // guards all below
	keys  map[string]Key
	down  bool
	reads int
}

// Key signs tokens.
type Key struct {
	ID, Algorithm string
	private       any
}

// NewIssuer starts one without a key. It ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, keys: map[string]Key{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{ // the reader sees what is missing
			"issuer": i.URL(), "jwks_uri": i.KeysURL(),
			"authorization_endpoint": i.URL() + "/a", "token_endpoint": i.URL() + "/t",
		})
	})
	mux.HandleFunc("GET /keys", i.serveKeys)
	i.server = httptest.NewTLSServer(mux)
	t.Cleanup(i.server.Close)
	return i
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reads++
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: public(k.private), KeyID: k.ID, Algorithm: k.Algorithm, Use: "sig"})
	}
	_ = json.NewEncoder(w).Encode(set) // the reader sees what is missing
}

// URL of the issuer, KeysURL of its keys, and Client that trusts its certificate.
func (i *Issuer) URL() string { return i.server.URL }

// KeysURL is where the keys are.
func (i *Issuer) KeysURL() string { return i.server.URL + "/keys" }

// Client trusts the issuer's certificate.
func (i *Issuer) Client() *http.Client { return i.server.Client() }

// CA is the issuer's certificate as a file holds it.
func (i *Issuer) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
}

// Down makes the key server fail, or work again.
func (i *Issuer) Down(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Reads counts how often the keys were asked for.
func (i *Issuer) Reads() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reads
}

// NewKey makes a key for RS256 or ES256 that is not published yet.
func NewKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	var private any
	var err error
	if strings.HasPrefix(algorithm, "ES") {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, algorithm, private}
}

// Public is the key's public half.
func (k Key) Public() any { return public(k.private) }

func public(private any) any {
	return private.(interface{ Public() crypto.PublicKey }).Public()
}

// Publish makes keys the only ones that are published.
func (i *Issuer) Publish(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.keys)
	for _, k := range keys {
		i.keys[k.ID] = k
	}
}

// Claims of a good token for the audience "holdfast" that ends in an hour, with changes.
func (i *Issuer) Claims(changes map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": i.URL(), "aud": "holdfast", "sub": "reports",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Sign makes a token.
func (k Key) Sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	return Signed(t, k.Algorithm, k.ID, k.private, claims)
}

// Signed makes a token by any algorithm that go-jose knows.
func Signed(t testing.TB, algorithm, kid string, key any, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
