package config

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-io/holdfast/broker/identity"
)

// validateIdentity reports what is wrong with how callers show who they are.
func (c *Config) validateIdentity(r *report) {
	i := &c.Identity
	if i.X509.Name != "" {
		const path = "identity.x509.name"
		if _, err := identity.FromCertificate(i.X509.Name); err != nil {
			r.add(path, "%v", err)
		}
		if c.TLS.ClientCAFile == "" && !r.broken("tls.client_ca_file") {
			r.add(path, "names certificates, but tls.client_ca_file is missing; give the certificates that sign them")
		}
	}
	i.SPIFFE.validate(r)
	i.validateJWT(r)
}

func (s *SPIFFE) validate(r *report) {
	const path = "identity.spiffe"
	if !s.Used() || r.broken(path) {
		return
	}
	if err := s.Trust().Validate(); err != nil {
		r.add(path, "%s", oneLine(err))
	}
	switch {
	case s.WorkloadAPI == "" && len(s.Bundles) == 0:
		r.add(path, "nothing says what vouches for the trust domains; give workload_api or bundles")
	case s.WorkloadAPI != "" && len(s.Bundles) > 0:
		r.add(path+".bundles", "workload_api brings the bundles already; delete one of the two")
	case s.WorkloadAPI != "":
		if err := identity.ValidWorkload(s.WorkloadAPI); err != nil {
			r.add(path+".workload_api", "%q: %v; want unix:///path/of/the.sock", s.WorkloadAPI, err)
		}
	}
	if s.ServeSVID && s.WorkloadAPI == "" {
		r.add(path+".serve_svid", "needs workload_api; with files, give the SVID and its key as tls.cert_file and tls.key_file")
	}
	s.validateBundles(r, path+".bundles")
}

func (s *SPIFFE) validateBundles(r *report, path string) {
	if len(s.Bundles) == 0 {
		return
	}
	seen := map[string]bool{}
	for i, b := range s.Bundles {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case !r.required(at+".trust_domain", b.TrustDomain, "give one of trust_domains"):
		case !slices.Contains(s.TrustDomains, b.TrustDomain):
			r.add(at+".trust_domain", "%q is not among trust_domains; add it there, or delete the bundle", b.TrustDomain)
		case seen[b.TrustDomain]:
			r.add(at+".trust_domain", "%q has two bundles; put all its certificates into one file", b.TrustDomain)
		}
		seen[b.TrustDomain] = true
		if !r.required(at+".file", b.File, "give a PEM file or a SPIFFE bundle document") {
			continue
		}
		text, err := os.ReadFile(b.File)
		if err == nil && b.TrustDomain != "" {
			_, err = identity.ParseBundle(b.TrustDomain, text)
		}
		if err != nil {
			r.add(at+".file", "%s: %v", b.File, err)
		}
	}
	for _, domain := range s.TrustDomains {
		if !seen[domain] {
			r.add(path, "trust domain %q has no bundle, so that its callers could not come; add its file", domain)
		}
	}
}

func (i *Identity) validateJWT(r *report) {
	var good []identity.Issuer
	for n := range i.JWT {
		j, path := &i.JWT[n], "identity.jwt["+strconv.Itoa(n)+"]"
		if r.broken(path) {
			continue
		}
		if err := identity.Validate([]identity.Issuer{j.Trust()}); err != nil {
			r.add(path, "%s", oneLine(err))
		} else {
			good = append(good, j.Trust())
			if err := identity.Validate(good); err != nil { // with those before it
				r.add(path, "%s", oneLine(err))
				good = good[:len(good)-1]
			}
		}
		if r.fine(path+".ca_file", j.CAFile) {
			r.certificates(path+".ca_file", j.CAFile)
		}
		if j.BearerTokenFile != "" {
			r.readable(path+".bearer_token_file", j.BearerTokenFile, "give a file with a token")
		}
	}
}

// oneLine shows joined errors in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; also ") }
