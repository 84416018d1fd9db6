package transit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/storage/seal"
	"github.com/holdfast-io/holdfast/storage/seal/transit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vault answers as the documentation of the transit engine says: api-docs/secret/transit
// and the status codes of api-docs.
type vault struct {
	mu       sync.Mutex
	token    string         // guarded by mu, as all of this
	versions map[int][]byte // key "holdfast"
	latest   int
	status   int // if not 0, the answer to everything
	body     string
	asked    []*http.Request
	bodies   []map[string]string
}

const errorsBody = `{"errors":["provider-text-canary"]}`

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	raw, _ := io.ReadAll(r.Body)
	var body map[string]string
	_ = json.Unmarshal(raw, &body)
	v.asked, v.bodies = append(v.asked, r), append(v.bodies, body)
	refuse := func(code int) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, errorsBody)
	}
	switch {
	case v.status != 0:
		w.Header().Set("Location", "https://active.example/v1/transit/decrypt/holdfast")
		w.WriteHeader(v.status)
		_, _ = io.WriteString(w, v.body)
	case r.Header.Get("X-Vault-Token") != v.token:
		refuse(http.StatusForbidden)
	case r.Method != http.MethodPost:
		refuse(http.StatusMethodNotAllowed)
	case r.URL.Path == "/v1/transit/encrypt/holdfast":
		plain, err := base64.StdEncoding.DecodeString(body["plaintext"])
		if err != nil {
			refuse(http.StatusBadRequest)
			return
		}
		sealed, _ := seal.SealWith(v.versions[v.latest], plain, nil)
		answer(w, map[string]any{"ciphertext": fmt.Sprintf("vault:v%d:%s", v.latest, base64.StdEncoding.EncodeToString(sealed)), "key_version": v.latest})
	case r.URL.Path == "/v1/transit/decrypt/holdfast":
		var n int
		_, _ = fmt.Sscanf(body["ciphertext"], "vault:v%d:", &n)
		_, text, _ := strings.Cut(strings.TrimPrefix(body["ciphertext"], "vault:"), ":")
		sealed, _ := base64.StdEncoding.DecodeString(text)
		plain, err := seal.OpenWith(v.versions[n], sealed, nil)
		if err != nil {
			refuse(http.StatusBadRequest) // of another key, or of a version below the least
			return
		}
		answer(w, map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)})
	case strings.HasPrefix(r.URL.Path, "/v1/transit/"):
		refuse(http.StatusBadRequest) // there is no such key
	default:
		refuse(http.StatusNotFound)
	}
}

func answer(w http.ResponseWriter, data map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "1", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data})
}

func (v *vault) edit(f func(*vault)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(v)
}

// rig is a fake server over TLS and the configuration for it.
func rig(t *testing.T) (*vault, transit.Config) {
	t.Helper()
	v := &vault{token: "hvs.token-canary", versions: map[int][]byte{1: seal.NewKey()}, latest: 1}
	server := httptest.NewTLSServer(v)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	dir := t.TempDir()
	c := transit.Config{Address: server.URL, Key: "holdfast", TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.pem")}
	write(t, c.TokenFile, v.token+"\n")
	write(t, c.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return v, c
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func kekOf(t *testing.T, c transit.Config) *transit.KEK {
	t.Helper()
	kek, err := transit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func TestAKeyIsWrappedByTheEngineAndOpensAfterItsKeyWasRotated(t *testing.T) {
	v, c := rig(t)
	c.Namespace = "team-a"
	kek := kekOf(t, c)
	key := seal.NewKey()
	wrapped, err := kek.Wrap(t.Context(), key)
	if err != nil || !bytes.HasPrefix(wrapped, []byte("vault:v1:")) {
		t.Fatalf("wrapped %q, error %v", wrapped, err)
	}
	v.edit(func(v *vault) { v.versions[2], v.latest = seal.NewKey(), 2 })
	if got, err := kek.Unwrap(t.Context(), wrapped); err != nil || !bytes.Equal(got, key) {
		t.Errorf("unwrapped by an older version: error %v", err)
	}
	if again, err := kek.Wrap(t.Context(), key); err != nil || !bytes.HasPrefix(again, []byte("vault:v2:")) {
		t.Errorf("wrapped anew: %q, error %v", again, err)
	}
	for _, r := range v.asked {
		if r.Header.Get("X-Vault-Namespace") != "team-a" || r.Header.Get("X-Vault-Request") != "true" {
			t.Errorf("headers %v", r.Header)
		}
	}
	if kek.ID() != "vault-transit/transit/holdfast" {
		t.Errorf("id %q", kek.ID())
	}
}

func TestTheTokenIsReadAgainForEachCall(t *testing.T) {
	v, c := rig(t)
	kek := kekOf(t, c)
	wrapped, err := kek.Wrap(t.Context(), seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	v.edit(func(v *vault) { v.token = "hvs.renewed-canary" })
	if _, err := kek.Unwrap(t.Context(), wrapped); !errors.Is(err, seal.ErrUnavailable) || !strings.Contains(err.Error(), "HTTP 403") || !strings.Contains(err.Error(), c.TokenFile) {
		t.Errorf("with an expired token: %v", err)
	}
	write(t, c.TokenFile, "hvs.renewed-canary")
	if _, err := kek.Unwrap(t.Context(), wrapped); err != nil {
		t.Errorf("with the renewed token: %v", err)
	}
	for _, text := range []string{"", "two\nlines"} {
		write(t, c.TokenFile, text)
		if _, err := kek.Unwrap(t.Context(), wrapped); err == nil || !strings.Contains(err.Error(), "holds no token") {
			t.Errorf("token file %q: %v", text, err)
		}
	}
}

func TestWhatVaultRefusesIsSaidWithWhatToDo(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int
		again  bool
		want   string
	}{
		{"no right", 403, true, "does not allow update on transit/decrypt/holdfast"},
		{"no engine", 404, false, "correct mount and namespace"},
		{"another method", 405, false, "correct mount"},
		{"another key", 400, false, "min_decryption_version was raised above vault:v1"},
		{"rate limit or standby", 429, true, "standby"},
		{"not yet consistent", 412, true, "asked again"},
		{"performance standby", 473, true, "standby"},
		{"sealed", 503, true, "unseal it"},
		{"broken", 500, true, "its log says"},
		{"redirect", 307, false, "active node"},
		{"something else", 204, false, "correct the address"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v, c := rig(t)
			kek := kekOf(t, c)
			wrapped, err := kek.Wrap(t.Context(), seal.NewKey())
			if err != nil {
				t.Fatal(err)
			}
			body := errorsBody
			if row.status == 204 {
				body = ""
			}
			v.edit(func(v *vault) { v.status, v.body = row.status, body })
			_, err = kek.Unwrap(t.Context(), wrapped)
			if err == nil || errors.Is(err, seal.ErrUnavailable) != row.again || !strings.Contains(err.Error(), row.want) ||
				!strings.Contains(err.Error(), fmt.Sprintf("HTTP %d", row.status)) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error tells what it must not: %v", err)
			}
			if n := len(v.asked); n != 2 {
				t.Errorf("%d requests, want one for each call", n)
			}
		})
	}
}

func TestAWrongKeyOrServerIsSaid(t *testing.T) {
	v, c := rig(t)
	wrapped, err := kekOf(t, c).Wrap(t.Context(), seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	v.edit(func(v *vault) { v.versions[1] = seal.NewKey() })
	if _, err := kekOf(t, c).Unwrap(t.Context(), wrapped); err == nil || errors.Is(err, seal.ErrUnavailable) || !strings.Contains(err.Error(), "not the one that wrapped") {
		t.Errorf("a key of the same name: %v", err)
	}
	other := c
	other.Key = "holdfsat"
	if _, err := kekOf(t, other).Wrap(t.Context(), seal.NewKey()); err == nil || !strings.Contains(err.Error(), "vault write -f transit/keys/holdfsat") {
		t.Errorf("a key that does not exist: %v", err)
	}
	other = c
	other.Mount = "kv"
	if _, err := kekOf(t, other).Wrap(t.Context(), seal.NewKey()); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("another mount: %v", err)
	}
	other = c
	other.CAFile = ""
	if _, err := kekOf(t, other).Wrap(t.Context(), seal.NewKey()); !errors.Is(err, seal.ErrUnavailable) || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("an unknown CA: %v", err)
	}
	for body, want := range map[string]string{`<html>`: "no transit engine", `{"data":{"ciphertext":"x","plaintext":"%"}}`: "no transit engine", `{}`: "no transit engine"} {
		v.edit(func(v *vault) { v.status, v.body = 200, body })
		if _, err := kekOf(t, c).Wrap(t.Context(), seal.NewKey()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("encrypt answers %s: %v", body, err)
		}
		if _, err := kekOf(t, c).Unwrap(t.Context(), wrapped); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decrypt answers %s: %v", body, err)
		}
	}
	if _, err := kekOf(t, c).Unwrap(t.Context(), []byte("vault:v0:x")); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("no ciphertext: %v", err)
	}
}

func TestAVaultThatHangsOrIsGoneEndsInTime(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	t.Cleanup(func() { close(block); server.Close() })
	_, c := rig(t)
	c.Address = server.URL
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := kekOf(t, c).Wrap(ctx, seal.NewKey()); !errors.Is(err, seal.ErrUnavailable) {
		t.Errorf("one that hangs: %v", err)
	}
	c.Address = "https://127.0.0.1:1"
	if _, err := kekOf(t, c).Wrap(t.Context(), seal.NewKey()); !errors.Is(err, seal.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("one that is gone: %v", err)
	}
	for _, address := range []string{"", "vault.example:8200", "ftp://x"} {
		c.Address = address
		if _, err := transit.New(c); err == nil {
			t.Errorf("the address %q was taken", address)
		}
	}
}
