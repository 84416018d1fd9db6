package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const goodIssuer = `  - {issuer: "https://one.example.com", audience: holdfast, name: "one:{sub}", leeway: 1m, ca_file: files/ca.crt}
`

func TestTheSectionIdentityIsValidatedWithItsLines(t *testing.T) {
	rows := []struct{ name, section, part string }{
		{"issuers", "identity:\n  jwt:\n" + strings.ReplaceAll(goodIssuer, "  - ", "    - "), ""},
		{"bundles", "identity:\n  spiffe: {trust_domains: [example.org], bundles: [{trust_domain: example.org, file: files/ca.crt}], groups: [prefixes]}\n", ""},
		{"a template", "identity: {x509: {name: \"{dns}\"}}\n", ""},
		{"an unknown fact", "identity: {x509: {name: \"{sub}\"}}\n", `no fact "sub"`},
		{"an unknown key", "identity: {x508: {}}\n", "unknown key"},
		{"a symmetric algorithm", "identity:\n  jwt:\n    - {issuer: \"https://one.example.com\", audience: h, name: \"one:{sub}\", algorithms: [HS256]}\n", `algorithm "HS256"`},
		{"a token's name without a beginning", "identity:\n  jwt:\n    - {issuer: \"https://one.example.com\", audience: h, name: \"{sub}\"}\n", "own in front"},
		{"nothing that vouches", "identity: {spiffe: {trust_domains: [example.org]}}\n", "give workload_api or bundles"},
		{"two that vouch", "identity: {spiffe: {trust_domains: [example.org], workload_api: \"unix:///x.sock\", bundles: [{trust_domain: example.org, file: files/ca.crt}]}}\n", "delete one of the two"},
		{"a bundle of another domain", "identity: {spiffe: {trust_domains: [example.org], bundles: [{trust_domain: example.com, file: files/ca.crt}]}}\n", "not among trust_domains"},
		{"a socket that is none", "identity: {spiffe: {trust_domains: [example.org], workload_api: x}}\n", "want unix://"},
		{"an own document from files", "identity: {spiffe: {trust_domains: [example.org], serve_svid: true, bundles: [{trust_domain: example.org, file: files/ca.crt}]}}\n", "needs workload_api"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := dir(t)
			c, _, err := Parse(filepath.Join(d, "holdfast.yaml"), []byte(whole+row.section))
			if row.part == "" {
				if err != nil {
					t.Fatal(err)
				}
				if len(c.Identity.JWT) > 0 && (c.Identity.JWT[0].Leeway != time.Minute || c.Identity.JWT[0].CAFile != filepath.Join(d, "files", "ca.crt")) {
					t.Errorf("decoded as %+v", c.Identity.JWT[0])
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.part) || !strings.Contains(err.Error(), "holdfast.yaml:") {
				t.Errorf("got %v, want %q with its line", err, row.part)
			}
		})
	}
}
