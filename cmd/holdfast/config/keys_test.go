package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExactlyOneKeyProviderIsTaken(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "x", "token": "hvs.x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head = "environment: test\nstore: {dir: store}\n"
	vault := func(fields string) string { return "keys: {vault: {" + fields + "}}" }
	for _, row := range []struct {
		name, keys string
		want       []string // each a part of some problem; none: it is taken
	}{
		{"a socket", "keys: {kms_socket: kms.sock}", nil},
		{"a vault", vault("address: 'https://vault.example:8200', key: k, token_file: token"), nil},
		{"an agent on loopback", vault("address: 'http://127.0.0.1:8100', key: k, token_file: token, mount: a/b, namespace: n"), nil},
		{"a token that comes later", vault("address: 'https://vault.example:8200', key: k, token_file: later"), nil},
		{"none", "keys: {}", []string{"keys.kek_file: missing", "kms_socket or vault"}},
		{"two", "keys: {kek_file: plain, kms_socket: kms.sock}", []string{"keys: kek_file and kms_socket: want exactly one", "holdfast keys rewrap"}},
		{"no socket", "keys: {kms_socket: plain}", []string{"is no socket"}},
		{"a long socket", "keys: {kms_socket: " + strings.Repeat("a", 120) + "}", []string{"a socket's path may have 107"}},
		{"half a vault", vault("address: 'https://vault.example:8200'"), []string{"keys.vault.key: missing", "keys.vault.token_file: missing"}},
		{"plain http", vault("address: 'http://vault.example:8200', key: k, token_file: token"), []string{"keys.vault.address", "want https"}},
		{"no URL", vault("address: 'vault.example', key: k, token_file: token"), []string{"want an https URL"}},
		{"a path for a key", vault("address: 'https://v.example', key: a/b, token_file: token"), []string{"keys.vault.key"}},
		{"a mount with dots", vault("address: 'https://v.example', key: k, token_file: token, mount: '../sys'"), []string{"keys.vault.mount"}},
		{"a mount with a query", vault("address: 'https://v.example', key: k, token_file: token, mount: 'a?b'"), []string{"keys.vault.mount"}},
		{"no such CA", vault("address: 'https://v.example', key: k, token_file: token, ca_file: nowhere"), []string{"keys.vault.ca_file"}},
		{"a CA that is none", vault("address: 'https://v.example', key: k, token_file: token, ca_file: plain"), []string{"holds no certificate"}},
		{"an unknown field", vault("address: 'https://v.example', key: k, token_file: token, tokn: x"), []string{"tokn"}},
	} {
		file := filepath.Join(dir, "holdfast.yaml")
		if err := os.WriteFile(file, []byte(head+row.keys+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := LoadStore(file)
		if len(row.want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
			} else if s := c.Keys.KMSSocket; s != "" && s != filepath.Join(dir, "kms.sock") {
				t.Errorf("%s: the socket is %s", row.name, s)
			}
			continue
		}
		for _, want := range row.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", row.name, err, want)
			}
		}
		if err != nil && !strings.Contains(err.Error(), "holdfast.yaml:3") {
			t.Errorf("%s: the problem has no line: %v", row.name, err)
		}
	}
}
