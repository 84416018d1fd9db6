package leaks

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	"github.com/holdfast-io/holdfast/e2e/rig/kmsplugin"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// kekGivenUp is how long a key provider is gone until nothing is spent, with what a
// busy machine adds to the minute and a half.
const kekGivenUp = 3 * time.Minute

// untilKeyUnavailable waits until rotations are refused for want of the KEK, and
// looks at all that is said meanwhile.
func (w *world) untilKeyUnavailable(c callers) {
	w.t.Helper()
	var reason string
	for end := time.Now().Add(kekGivenUp); reason != "KEY_UNAVAILABLE"; <-time.After(2 * time.Second) {
		if time.Now().After(end) {
			w.t.Fatalf("no call is refused for want of the key %v after it went", kekGivenUp)
		}
		ready, why := w.server.Ready(w.t)
		w.look("/readyz without the KEK", []byte(why))
		w.do(c, operator, "GetStatus", &holdfastv1.GetStatusRequest{})
		if !ready {
			reason = w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)})
		}
	}
	w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)})
}

// kekLost lets the key provider go by breaking it, looks at all that is said of it,
// and lets it come back.
func (w *world) kekLost(breakIt, mend func()) {
	w.t.Helper()
	w.serve()
	w.consent(w.jira)
	c := w.callers()
	breakIt()
	out, _ := w.Command("doctor", "--config", "holdfast.yaml").CombinedOutput() // the store is in use: it says so
	w.look("holdfast doctor without the KEK", out)
	w.untilKeyUnavailable(c)
	w.metrics()
	mend()
	rig.Until(w.t, "rotations are allowed again", func() bool {
		return w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)}) == ""
	})
	w.server.Signal(w.t, quit)
	if err := w.server.Ended(w.t); err == nil {
		w.t.Error("SIGQUIT did not end the broker")
	}
	breakIt()
	waits := w.Launch(w.t)
	rig.Until(w.t, "a start waits for the KEK", func() bool { return strings.Contains(waits.Output(), "so the store stays closed") })
	waits.Kill(w.t)
	w.look("the log of a start without the KEK", []byte(waits.Output()))
	mend()
	w.look("holdfast keys rewrap", []byte(w.Run(w.t, "keys", "rewrap", "--config", "holdfast.yaml")))
	w.look("the log, and every goroutine", []byte(w.server.Output()))
	w.look("what the collector has of the audit record", w.collector.all())
	w.lookAtFiles()
	if n := w.scan.count(); n[rootKey] == 0 || n[foreignText] == 0 {
		w.t.Errorf("nothing came by that could leak: %v", n)
	}
}

// The keys that a KMS plugin is given, and what it says of its failures, stay
// between it and the broker.
func TestNothingThatAKMSPluginIsToldOrSaysGetsOut(t *testing.T) {
	t.Parallel()
	var plugin *kmsplugin.Plugin
	w := newWorldWith(t, "text", "", "", func(s *scanner, setup *rig.Setup) {
		plugin = kmsplugin.New(t, func(what string, content []byte) {
			if what == "key" {
				s.plant(rootKey, string(content))
			}
		})
		setup.Keys = "{kms_socket: " + plugin.Socket + "}"
	})
	plugin.Up(t)
	w.kekLost(func() { plugin.Refuse("the key is " + w.canary(foreignText)) }, func() { plugin.Refuse("") })
}

// vault answers like the transit engine of Vault. While it is broken it repeats all
// that it was sent.
type vault struct {
	scan   *scanner
	token  string
	broken atomic.Pointer[string] // its text
}

func (v *vault) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var body struct{ Plaintext, Ciphertext string }
	_ = json.Unmarshal(raw, &body)
	rw.Header().Set("Content-Type", "application/json")
	if text := v.broken.Load(); text != nil {
		rw.Header().Set("Location", "https://evil.example/"+r.Header.Get("X-Vault-Token"))
		rw.Header().Set("X-Vault-Echo", *text)
		rw.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(rw).Encode(map[string]any{"errors": []string{"permission denied", r.Header.Get("X-Vault-Token"), *text, string(raw)}})
		return
	}
	if r.Header.Get("X-Vault-Token") != v.token {
		rw.WriteHeader(http.StatusForbidden)
		return
	}
	data := map[string]any{}
	switch operation := strings.Split(r.URL.Path, "/"); operation[3] {
	case "encrypt":
		v.plant(body.Plaintext)
		sealed := []byte(body.Plaintext)
		for i := range sealed {
			sealed[i] ^= 0x55 // as good as sealed: the scanner does not know it
		}
		data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(sealed)
	case "decrypt":
		plain, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(body.Ciphertext, "vault:v1:"))
		for i := range plain {
			plain[i] ^= 0x55
		}
		v.plant(string(plain))
		data["plaintext"] = string(plain)
	}
	_ = json.NewEncoder(rw).Encode(map[string]any{"data": data})
}

func (v *vault) plant(encoded string) {
	if key, err := base64.StdEncoding.DecodeString(encoded); err == nil {
		v.scan.plant(rootKey, string(key))
	}
}

// The token of Vault, the keys that it is given, and what it says of its failures,
// its repetition of all of that included, stay between it and the broker.
func TestNothingThatVaultIsToldOrSaysGetsOut(t *testing.T) {
	t.Parallel()
	v := &vault{}
	var server *httptest.Server
	w := newWorldWith(t, "json", "", "", func(s *scanner, setup *rig.Setup) {
		v.scan = s
		server = httptest.NewTLSServer(v)
		t.Cleanup(server.Close)
		setup.Keys = fmt.Sprintf("{vault: {address: %q, key: holdfast, token_file: vault.token, ca_file: vault.pem}}", server.URL)
	})
	v.token = "hvs." + w.canary(vaultToken)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string][]byte{"vault.token": []byte(v.token + "\n"), "vault.pem": ca} {
		if err := os.WriteFile(filepath.Join(w.Dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.kekLost(func() { text := w.canary(foreignText); v.broken.Store(&text) }, func() { v.broken.Store(nil) })
}
