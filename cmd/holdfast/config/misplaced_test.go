package config

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASecretInTheWrongPlaceIsInNoMessage(t *testing.T) {
	raw, text := make([]byte, 32), ""
	for !digit.MatchString(base64.StdEncoding.EncodeToString(raw[:30])) || !digit.MatchString(text) { // one in 200 has none
		_, _ = rand.Read(raw)
		text = rand.Text()
	}
	for _, secret := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw), text,
		"ATOAyQ" + base64.RawURLEncoding.EncodeToString(raw) + "F3A9",
	} {
		for _, line := range []string{
			"client_secret: SECRET", "keys: {kek_file: SECRET}", "keys: {kek: SECRET}", "store: SECRET", "provider: {rate: SECRET, proxy_url: SECRET}",
			"provider: {lease: SECRET}", "provider: {overrides: {token_url: SECRET, name: [SECRET]}}", "provider: {profile: SECRET}",
			"apps: [{id: a, client_secret_files: [SECRET]}]", `apps: [{id: a, client_secret_files: "SECRET"}]`, "tls: {key_file: SECRET, cert_file: SECRET}",
			"provider: {proxy_url: \"http://user:SECRET@proxy.example:3128\"}", "keys:\n  kek_file: |\n    SECRET", ": SECRET\n\t- [", "SECRET: SECRET",
			"public_url: https://user:SECRET@h.example", "environment: SECRET", "log: {level: SECRET}",
		} {
			text := strings.ReplaceAll(line, "SECRET", secret)
			_, warnings, err := Parse(filepath.Join(t.TempDir(), "holdfast.yaml"), []byte(text))
			if err == nil {
				t.Fatalf("%s: no problem", line)
			}
			said := err.Error() + warnings.Error()
			for i := 0; i+12 <= len(secret); i++ {
				if strings.Contains(said, secret[i:i+12]) {
					t.Errorf("%s: %s", text, said)
					break
				}
			}
		}
	}
}

func TestPathsAndNamesAreShown(t *testing.T) {
	example, err := os.ReadFile("holdfast.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		string(example), "/etc/holdfast/jira.secret", "secrets/jira-client-secret-2026.txt", "../keys/KEK-of-production-2", "certificates/server-2026.crt",
		"spiffe://example.org/ns/prod/sa/sync-service", "https://auth.atlassian.com/oauth/token", "read:confluence-content.all", "integration-service-of-acme-eu-west-1",
		"/var/lib/Holdfast/Store1", "projects/Acme/locations/eu/keyRings/holdfast",
	} {
		if found := misplaced([]byte(text)); len(found) > 0 {
			t.Errorf("%q is taken for a secret in %.60q", found, text)
		}
	}
}
