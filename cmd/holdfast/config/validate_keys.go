package config

import (
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// maxSocketPath is what a unix socket's address holds on Linux, without its zero byte.
const maxSocketPath = 107

var (
	vaultName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$`)
	// A mount may lie below others.
	vaultMount = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)
)

// validateKeys reports what is wrong with the key provider as it is written. It
// asks no provider: the store's opening does, and waits for one that is down.
func (c *Config) validateKeys(r *report) {
	k := &c.Keys
	var given []string
	for _, p := range []struct {
		name string
		ok   bool
	}{
		{"kek_file", k.KEKFile != "" || r.broken("keys.kek_file")},
		{"kms_socket", k.KMSSocket != "" || r.broken("keys.kms_socket")},
		{"vault", k.Vault != (Vault{}) || r.broken("keys.vault")},
	} {
		if p.ok {
			given = append(given, p.name)
		}
	}
	switch {
	case len(given) == 0:
		r.required("keys.kek_file", "", "make one with: holdfast keys create --out FILE; or give kms_socket or vault in its place")
	case len(given) > 1:
		r.add("keys", "%s: want exactly one; to move the store from one to the other use holdfast keys rewrap", strings.Join(given, " and "))
		return
	}
	if k.KEKFile != "" {
		r.readable("keys.kek_file", k.KEKFile, "make one with: holdfast keys create --out FILE")
	}
	if k.KMSSocket != "" {
		r.socket("keys.kms_socket", k.KMSSocket)
	}
	if k.Vault != (Vault{}) && !r.broken("keys.vault") {
		k.Vault.validate(r)
	}
}

func (r *report) socket(path, file string) {
	info, err := os.Stat(file)
	switch {
	case len(file) > maxSocketPath:
		r.add(path, "%s has %d characters, and a socket's path may have %d; put it elsewhere", file, len(file), maxSocketPath)
	case err == nil && info.Mode().Type() != os.ModeSocket:
		r.add(path, "%s is no socket; give the one that the KMS plugin listens on", file)
	}
}

func (v *Vault) validate(r *report) {
	const at = "keys.vault"
	if r.required(at+".address", v.Address, "give the URL of the server, such as https://vault.example.com:8200") {
		u, err := url.Parse(v.Address)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
			r.add(at+".address", "%q: want an https URL such as https://vault.example.com:8200", v.Address)
		case u.Scheme == "http" && !loopback(u.Hostname()):
			r.add(at+".address", "%q: want https; the store's root key passes here (plain http is taken on loopback only)", v.Address)
		}
	}
	if r.required(at+".key", v.Key, "give the name of the transit key") && !vaultName.MatchString(v.Key) {
		r.add(at+".key", "%q: want 1 to 128 of the characters A-Z a-z 0-9 _ . -", v.Key)
	}
	if v.Mount != "" && !vaultMount.MatchString(v.Mount) {
		r.add(at+".mount", "%q: want the path that the engine is mounted at, such as transit", v.Mount)
	}
	if r.required(at+".token_file", v.TokenFile, "give the file that holds Vault's token") {
		r.private(at+".token_file", v.TokenFile)
	}
	if v.CAFile != "" {
		r.readable(at+".ca_file", v.CAFile, "give a PEM file")
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keyFiles reads what the key provider needs to have at a start.
func (r *report) keyFiles(k *Keys) {
	const kek, ca = "keys.kek_file", "keys.vault.ca_file"
	if r.fine(kek, k.KEKFile) {
		if _, err := seal.ReadFile(k.KEKFile); err != nil {
			r.add(kek, "%v", err)
		}
	}
	if r.fine(ca, k.Vault.CAFile) {
		r.certificates(ca, k.Vault.CAFile)
	}
}
