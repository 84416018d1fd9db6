package transit_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/storage/seal"
	"github.com/holdfast-io/holdfast/storage/seal/transit"
)

// FuzzAnswers answers whatever a server may: a key that is wrapped or opened is
// of the right form, and no answer ends the process.
func FuzzAnswers(f *testing.F) {
	f.Add(200, []byte(`{"data":{"ciphertext":"vault:v1:AAAA"}}`))
	f.Add(200, []byte(`{"data":{"plaintext":"AAAA"}}`))
	f.Add(200, []byte(`{"data":null}`))
	f.Add(503, []byte(`{"errors":["Vault is sealed"]}`))
	f.Add(307, []byte(``))
	var status int
	var body []byte
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	f.Cleanup(server.Close)
	dir := f.TempDir()
	c := transit.Config{Address: server.URL, Key: "holdfast", TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.pem")}
	write(f, c.TokenFile, "hvs.x\n")
	write(f, c.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	kek, err := transit.New(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code int, answer []byte) {
		if code < 200 || code > 999 {
			return // net/http sends no such answer
		}
		status, body = code, answer
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _ = kek.Wrap(ctx, make([]byte, seal.KeySize))
		if key, err := kek.Unwrap(ctx, []byte("vault:v1:AAAA")); err == nil && len(key) == 0 {
			t.Error("an empty key was taken")
		}
	})
}
