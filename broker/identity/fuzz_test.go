package identity

import (
	"strings"
	"testing"
	"time"
)

// FuzzBearer: nothing that the issuer did not sign is believed.
func FuzzBearer(f *testing.F) {
	for _, s := range []string{
		"", "Bearer ", "bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2kuZXhhbXBsZS5jb20ifQ.",
		"Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJodHRwczovL2kuZXhhbXBsZS5jb20ifQ.AAAA",
	} {
		f.Add(s)
	}
	trust, err := New(Config{Issuers: []Issuer{{URL: "https://i.example.com", Audience: "a", Name: "ci:{sub}"}}})
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, header string) {
		if id, err := trust.Bearer(header, now); err == nil {
			t.Errorf("%q is believed to be %+v", header, id)
		}
	})
}

// FuzzTemplate: a name made by a template holds its first literal, and only characters of names.
func FuzzTemplate(f *testing.F) {
	f.Add("ci:{sub}", "a")
	f.Add("{a}.{b}", "x.y")
	f.Add("{{}}", "")
	f.Fuzz(func(t *testing.T, text, value string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		name, err := tpl.name(func(string) []string { return []string{value} })
		if err == nil && (!strings.HasPrefix(name, tpl.Prefix()) || !sane(name)) {
			t.Errorf("%q of %q made %q", text, value, name)
		}
		_, _ = tpl.groups(func(string) []string { return []string{value, value} })
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB","kid":"x"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		for i := range keys {
			if err == nil && !keys[i].IsPublic() {
				t.Error("a key that is not public was taken")
			}
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = ParseBundle("example.org", text)
	})
}
