package devca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func read(t *testing.T, dir, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheSetVerifiesAndItsKeysArePrivate(t *testing.T) {
	dir := t.TempDir()
	if err := Ensure(dir, "dev", time.Now()); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(t, dir, CACert))
	server, err := tls.LoadX509KeyPair(filepath.Join(dir, ServerCert), filepath.Join(dir, ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := server.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, key := range []string{CAKey, ServerKey, ClientKey} {
		if info, err := os.Stat(filepath.Join(dir, key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", key, info.Mode(), err)
		}
	}
}

func TestTheSetIsKeptUntilItIsOfNoUse(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	ensure := func(name string, at time.Time) []byte {
		t.Helper()
		if err := Ensure(dir, name, at); err != nil {
			t.Fatal(err)
		}
		return read(t, dir, ClientCert)
	}
	first := ensure("dev", now)
	if !bytes.Equal(first, ensure("dev", now.Add(life-2*renewBefore))) {
		t.Error("made anew although it was good")
	}
	second := ensure("dev", now.Add(life-renewBefore/2))
	if bytes.Equal(first, second) {
		t.Error("kept although it ends within the day")
	}
	if bytes.Equal(second, ensure("other", now.Add(life))) {
		t.Error("kept although it is another client's")
	}
	if err := os.Remove(filepath.Join(dir, ServerKey)); err != nil {
		t.Fatal(err)
	}
	ensure("other", now.Add(life))
	read(t, dir, ServerKey)
}
