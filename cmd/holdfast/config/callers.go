package config

import (
	"time"

	"github.com/holdfast-io/holdfast/broker/identity"
)

// Identity says how callers show who they are, beside the list of callers and
// the authorities of their certificates (tls.client_ca_file).
type Identity struct {
	X509   X509   `yaml:"x509"`
	SPIFFE SPIFFE `yaml:"spiffe"`
	// JWT are the issuers of bearer tokens that name callers; default: none.
	JWT []JWT `yaml:"jwt"`
}

// X509 says how a client certificate is mapped to a caller's name.
type X509 struct {
	// Name is a template of the certificate's facts, e.g. "{dns}" or
	// "{organization}.{common_name}"; every certificate that has them is a caller
	// then. Default: the first SAN URI, SAN DNS name or common name that callers lists.
	Name string `yaml:"name"`
}

// SPIFFE says whose X509-SVIDs name callers. The zero value: nobody's.
type SPIFFE struct {
	// TrustDomains whose workloads may come; their names are their SPIFFE IDs.
	TrustDomains []string `yaml:"trust_domains"`
	// WorkloadAPI brings the bundles, e.g. unix:///run/spire/agent.sock.
	WorkloadAPI string `yaml:"workload_api"`
	// Bundles are files instead, one for each trust domain, read again when they change.
	Bundles []Bundle `yaml:"bundles"`
	// ServeSVID takes the gRPC listener's certificate from the Workload API, in
	// place of tls.cert_file. Default false.
	ServeSVID bool `yaml:"serve_svid"`
	// Groups that a caller's path makes: patterns such as /ns/*, or the word
	// prefixes for all beginnings of the path. Default: none.
	Groups []string `yaml:"groups"`
}

// Bundle is a file with a trust domain's certificates, PEM or a SPIFFE bundle document.
type Bundle struct {
	TrustDomain string `yaml:"trust_domain"`
	File        string `yaml:"file"`
}

// Used reports whether anything of the section is set.
func (s *SPIFFE) Used() bool {
	return len(s.TrustDomains)+len(s.Bundles)+len(s.Groups) > 0 || s.WorkloadAPI != "" || s.ServeSVID
}

// Trust returns the section in the terms of the package that verifies; nil if it is not used.
func (s *SPIFFE) Trust() *identity.SPIFFE {
	if !s.Used() {
		return nil
	}
	return &identity.SPIFFE{Domains: s.TrustDomains, Groups: s.Groups}
}

// JWT is one issuer of bearer tokens.
type JWT struct {
	// Issuer as it stands in the claim iss. Required.
	Issuer string `yaml:"issuer"`
	// Audience that a token must name. Required.
	Audience string `yaml:"audience"`
	// JWKSURL of the issuer's keys, https. Default: found by discovery under Issuer.
	JWKSURL string `yaml:"jwks_url"`
	// CAFile replaces the system's certificates for reading the keys.
	CAFile string `yaml:"ca_file"`
	// BearerTokenFile is shown when reading the keys, to the host of JWKSURL (or
	// Issuer) alone; read again when it changes. Default: none.
	BearerTokenFile string `yaml:"bearer_token_file"`
	// Algorithms that tokens may be signed with; default RS256 and ES256.
	Algorithms []string `yaml:"algorithms"`
	// Name is the template of the caller's name, e.g. "ci:{sub}": claims in braces,
	// or JSON pointers to them. Its beginning is this issuer's own. Required.
	Name string `yaml:"name"`
	// Groups are templates as well; a claim that is a list makes one of each member.
	Groups []string `yaml:"groups"`
	// Leeway is how far clocks may differ; default 30s, at most 5m.
	Leeway time.Duration `yaml:"leeway"`
	// KeysMaxAge is how long keys are believed that cannot be read again; 10m to
	// 24h, default 1h.
	KeysMaxAge time.Duration `yaml:"keys_max_age"`
}

// Trust returns the issuer in the terms of the package that verifies.
func (j *JWT) Trust() identity.Issuer {
	return identity.Issuer{
		URL: j.Issuer, Audience: j.Audience, KeysURL: j.JWKSURL, Algorithms: j.Algorithms,
		Name: j.Name, Groups: j.Groups, Leeway: j.Leeway, KeysMaxAge: j.KeysMaxAge,
	}
}

// paths are the files that the section names.
func (i *Identity) paths() []*string {
	var paths []*string
	for b := range i.SPIFFE.Bundles {
		paths = append(paths, &i.SPIFFE.Bundles[b].File)
	}
	for j := range i.JWT {
		paths = append(paths, &i.JWT[j].CAFile, &i.JWT[j].BearerTokenFile)
	}
	return paths
}
