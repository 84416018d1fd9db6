package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// validateFiles reads what the file names, so that everything a start would fail
// with is reported together with the rest, at its line. It makes nothing.
func (c *Config) validateFiles(r *report) {
	r.keyFiles(&c.Keys)
	r.pair("tls", c.TLS.CertFile, c.TLS.KeyFile) // of which there may be none
	if !c.HTTP.BehindProxy && c.HTTP.CertFile != "" && c.HTTP.KeyFile != "" {
		r.pair("http", c.HTTP.CertFile, c.HTTP.KeyFile)
	}
	if r.fine("tls.client_ca_file", c.TLS.ClientCAFile) {
		r.certificates("tls.client_ca_file", c.TLS.ClientCAFile)
	}
	for i := range c.Apps {
		for j, file := range c.Apps[i].ClientSecretFiles {
			path := "apps[" + strconv.Itoa(i) + "].client_secret_files[" + strconv.Itoa(j) + "]"
			if !r.fine(path, file) {
				continue
			}
			if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == "" {
				r.add(path, "%s holds blanks only; write the client secret into it", file)
			}
			r.private(path, file)
		}
	}
	r.storeDir(c.Store.Dir)
	r.witnessDir(c.Store.WitnessFile)
	r.auditFile(c.Audit.File)
	r.checkpointFile(c.Audit.CheckpointFile, c.Audit.File)
}

// fine reports whether a value is there and nothing was found wrong with it.
func (r *report) fine(path, value string) bool {
	if value == "" || r.broken(path) {
		return false
	}
	for _, p := range r.problems {
		if p.Path == path {
			return false
		}
	}
	return true
}

// pair checks that a certificate and a key belong together.
func (r *report) pair(section, cert, key string) {
	certPath, keyPath := section+".cert_file", section+".key_file"
	if r.fine(certPath, cert) && r.fine(keyPath, key) {
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			r.add(certPath, "loading certificate %s with key %s: %v; give a certificate chain and its own key, both PEM", cert, key, err)
		}
	}
	if r.fine(keyPath, key) {
		r.private(keyPath, key)
	}
}

func (r *report) certificates(path, file string) {
	pem, err := os.ReadFile(file)
	switch {
	case err != nil:
		r.add(path, "%v", err)
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		r.add(path, "%s holds no certificate in PEM form", file)
	}
}

// private warns about a secret that others than its owner can read. It is no
// problem: orchestrators mount secrets for a group.
func (r *report) private(path, file string) {
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
		r.warn(path, "%s has mode %04o, so that others than its owner can use it; run chmod 600 %[1]s", file, info.Mode().Perm())
	}
}

// storeDir checks that the store's directory can be used, or made.
func (r *report) storeDir(dir string) {
	const path = "store.dir"
	if !r.fine(path, dir) {
		return
	}
	at := filepath.Clean(dir)
	for {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, os.ErrNotExist) && filepath.Dir(at) != at:
			at = filepath.Dir(at)
			continue
		case err != nil:
			r.add(path, "%v; correct the path", err)
		case !info.IsDir():
			r.add(path, "%s is no directory; correct the path", at)
		case !writable(at):
			r.add(path, "%s is not writable for this user, and the store lies in it; change its owner, or correct the path", at)
		}
		return
	}
}

// validateWitness reports a witness that would be copied, and put back, together
// with the store that it is there to tell from its copies.
func (c *Config) validateWitness(r *report) {
	const path = "store.witness_file"
	if c.Store.Dir == "" || !r.fine(path, c.Store.WitnessFile) {
		return
	}
	dir, file := realPath(c.Store.Dir), filepath.Join(realPath(filepath.Dir(c.Store.WitnessFile)), filepath.Base(c.Store.WitnessFile))
	if rel, err := filepath.Rel(dir, file); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		r.add(path, "%s lies in store.dir, with which it would be copied and put back; put it beside that directory, or better on another disk", c.Store.WitnessFile)
	}
}

// realPath is the path behind links, as far as it exists.
func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if at, err := filepath.EvalSymlinks(abs); err == nil {
		return at
	}
	if parent := filepath.Dir(abs); parent != abs {
		return filepath.Join(realPath(parent), filepath.Base(abs))
	}
	return abs
}

// witnessDir checks that the witness can be replaced. The place of the default is
// made with the store, if it is not there.
func (r *report) witnessDir(file string) {
	const path = "store.witness_file"
	if !r.fine(path, file) || !r.fine("store.dir", file) {
		return
	}
	dir := filepath.Dir(file)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, given := r.lines[path]; given {
			r.add(path, "the directory %s does not exist; make it, or correct the path", dir)
		}
	case err != nil:
		r.add(path, "%v; correct the path", err)
	case !info.IsDir():
		r.add(path, "%s is no directory; correct the path", dir)
	case !writable(dir):
		r.add(path, "the store's witness is kept in %s, which is not writable for this user; change its owner, or give a place outside of store.dir that is", dir)
	}
}

// auditFile checks that lines can be appended, without making the file.
func (r *report) auditFile(file string) {
	const path = "audit.file"
	if !r.fine(path, file) {
		return
	}
	if info, err := os.Stat(file); err == nil {
		switch {
		case info.IsDir():
			r.add(path, "%s is a directory; want a file", file)
		case !writable(file):
			r.add(path, "%s is not writable for this user; change its owner or mode", file)
		}
		return
	}
	r.dirOf(path, file)
}

// checkpointFile checks that the file can be replaced, and that it is no other's place.
func (r *report) checkpointFile(file, audit string) {
	const path = "audit.checkpoint_file"
	if file == "" {
		return
	}
	info, err := os.Stat(file)
	switch record, rerr := os.Stat(audit); {
	case file == audit, err == nil && rerr == nil && os.SameFile(info, record):
		r.add(path, "it is audit.file, which it would replace; name another file, best on another disk")
	case err == nil && info.IsDir():
		r.add(path, "%s is a directory; want a file", file)
	default:
		r.dirOf(path, file)
	}
}

// dirOf checks that a file can be made.
func (r *report) dirOf(path, file string) {
	dir := filepath.Dir(file)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		r.add(path, "the directory %s does not exist; make it, or correct the path", dir)
	case err != nil:
		r.add(path, "%v; correct the path", err)
	case !info.IsDir():
		r.add(path, "%s is no directory; correct the path", dir)
	case !writable(dir):
		r.add(path, "the directory %s is not writable for this user; change its owner, or correct the path", dir)
	}
}
