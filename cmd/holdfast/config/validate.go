package config

import (
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-io/holdfast/broker/policy"
)

var word = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// validateStore reports what is wrong with the keys that name the store.
func (c *Config) validateStore(r *report) {
	if r.required("environment", c.Environment, "name it, e.g. production; the store remembers it") && !word.MatchString(c.Environment) {
		r.add("environment", "%q: want 1 to 64 of the characters A-Z a-z 0-9 . _ -", c.Environment)
	}
	c.Store.validate(r)
	c.validateWitness(r)
	c.validateKeys(r)
}

// validate reports everything that is wrong with a decoded file.
func (c *Config) validate(r *report) {
	c.validateStore(r)
	c.validateAudit(r)
	c.validatePublicURL(r)
	c.validateListeners(r)
	c.validateProvider(r)
	c.validateApps(r)
	c.validateCallers(r)
	c.validateIdentity(r)
	c.validatePolicy(r)
	c.validateLimits(r)
	c.validateExtAuthz(r)
	c.Retention.validate(r)
	for i, origin := range c.ReturnURLs {
		validateOrigin(r, "return_urls["+strconv.Itoa(i)+"]", origin)
	}
	c.validateFiles(r)
	r.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	r.oneOf("log.format", c.Log.Format, "text", "json")
}

// required reports an empty value and says whether there is one to look at.
func (r *report) required(path, value, what string) bool {
	if value == "" && !r.broken(path) {
		r.add(path, "missing; %s", what)
	}
	return value != ""
}

// requiredFile reports a missing key as well as a file that cannot be read.
func (r *report) requiredFile(path, file, what string) {
	if r.required(path, file, what) {
		r.readable(path, file, what)
	}
}

// readable reports a named file that is not there, not readable or empty.
func (r *report) readable(path, file, what string) {
	f, err := os.Open(file)
	if err != nil {
		r.add(path, "%v; %s", err, what)
		return
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	switch {
	case err != nil:
		r.add(path, "%v", err)
	case info.IsDir():
		r.add(path, "%s is a directory; want a file", file)
	case info.Size() == 0:
		r.add(path, "%s is empty; %s", file, what)
	}
}

func (r *report) oneOf(path, value string, allowed ...string) {
	if r.broken(path) {
		return
	}
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	r.add(path, "%q: want one of %s", value, strings.Join(allowed, ", "))
}

func (c *Config) validatePublicURL(r *report) {
	const path = "public_url"
	if !r.required(path, c.PublicURL, "give the https URL where browsers reach the connect page") {
		return
	}
	u, err := url.Parse(c.PublicURL)
	switch {
	case err != nil || u.Host == "":
		r.add(path, "%q: want an https URL such as https://holdfast.example.com", c.PublicURL)
	case u.Scheme != "https" && !(r.dev && u.Scheme == "http"):
		r.add(path, "%q: want https; people's consents pass here (plain http exists in `holdfast dev` only)", c.PublicURL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		r.add(path, "%q: want scheme and host only; the callback URL to register at the provider is https://%s/oauth/callback", c.PublicURL, u.Host)
	default:
		c.PublicURL = u.Scheme + "://" + u.Host
	}
}

func (c *Config) validateListeners(r *report) {
	const pem = "give a PEM file"
	if !c.withoutPair() {
		r.requiredFile("tls.cert_file", c.TLS.CertFile, pem)
		r.requiredFile("tls.key_file", c.TLS.KeyFile, pem)
	}
	if c.TLS.ClientCAFile != "" || !c.Identity.SPIFFE.Used() && len(c.Identity.JWT) == 0 {
		r.requiredFile("tls.client_ca_file", c.TLS.ClientCAFile, "give a PEM file with the certificates that sign callers' certificates")
	}
	listens := map[string]string{}
	for _, l := range []struct{ path, addr string }{
		{"grpc.listen", c.GRPC.Listen}, {"http.listen", c.HTTP.Listen}, {"metrics.listen", c.Metrics.Listen},
	} {
		host, port, err := net.SplitHostPort(l.addr)
		if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
			r.add(l.path, "%q: want host:port, such as 127.0.0.1:7443 or :7443", l.addr)
			continue
		}
		if other, taken := listens[host+":"+port]; taken && port != "0" {
			r.add(l.path, "%q is the address of %s as well; give each its own port", l.addr, other)
		}
		listens[host+":"+port] = l.path
	}
	switch {
	case c.HTTP.BehindProxy && (c.HTTP.CertFile != "" || c.HTTP.KeyFile != ""):
		r.add("http.behind_proxy", "contradicts http.cert_file and http.key_file: a plain listener has no certificate; delete one or the other")
	case (c.HTTP.CertFile == "") != (c.HTTP.KeyFile == ""):
		r.add("http", "cert_file and key_file belong together; give both, or none to use those of tls")
	case c.HTTP.CertFile != "":
		r.readable("http.cert_file", c.HTTP.CertFile, pem)
		r.readable("http.key_file", c.HTTP.KeyFile, pem)
	}
}

// withoutPair reports whether no listener uses the certificate of tls.
func (c *Config) withoutPair() bool {
	return c.Identity.SPIFFE.ServeSVID && (c.HTTP.BehindProxy || c.HTTP.CertFile != "") && c.TLS.CertFile == "" && c.TLS.KeyFile == ""
}

func (c *Config) validateCallers(r *report) {
	if len(c.Callers)+len(c.Policy.Files) == 0 && !r.broken("callers") {
		r.warn("callers", "nobody is listed: every call will be refused")
	}
	seen := map[string]int{}
	for i, caller := range c.Callers {
		path := "callers[" + strconv.Itoa(i) + "]"
		if r.required(path+".name", caller.Name, "give the URI, DNS name or common name of its certificate, or the name that identity makes") {
			if first, twice := seen[caller.Name]; twice {
				r.add(path+".name", "%q is listed twice (first in line %d); merge the two", caller.Name, first)
			} else {
				seen[caller.Name] = r.lineOf(path + ".name")
			}
			if strings.Contains(caller.Name, "*") {
				r.add(path+".name", "%q: a name has no wildcards; list each certificate's own name", caller.Name)
			}
		}
		validatePatterns(r, path+".grants", caller.Grants)
		validatePatterns(r, path+".consents", caller.Consents)
		if len(caller.Grants)+len(caller.Consents) == 0 && !caller.Admin && !r.broken(path) {
			r.warn(path, "%q may do nothing; give it grants, consents or admin: true", caller.Name)
		}
	}
}

// validatePatterns asks the policy package itself about each pattern, one by
// one, so that the two can never disagree and each problem has its line.
func validatePatterns(r *report, path string, patterns []string) {
	for i, p := range patterns {
		at := path + "[" + strconv.Itoa(i) + "]"
		if r.broken(at) {
			continue
		}
		if err := policy.CheckPattern(p); err != nil {
			r.add(at, "%v", err)
		}
	}
}

func validateOrigin(r *report, path, origin string) {
	if r.broken(path) {
		return
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		r.add(path, "%q: want an https origin without a path, such as https://portal.example.com", origin)
	}
}
