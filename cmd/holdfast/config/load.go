package config

import (
	"fmt"
	"os"
	"path/filepath"
)

// Load reads, decodes and validates the file at path. If anything is wrong the
// error is a Problems with all of it; the warnings are returned either way.
// Files that the configuration names are checked for being there and readable.
func Load(path string) (*Config, Problems, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse is Load for a text that was read already; path names it in messages
// and is where relative paths count from.
func Parse(path string, text []byte) (*Config, Problems, error) {
	return parse(newReport(path), text)
}

// ParseDev is Parse for the file that dev mode writes: public_url may be plain
// http on loopback.
func ParseDev(path string, text []byte) (*Config, Problems, error) {
	r := newReport(path)
	r.dev = true
	return parse(r, text)
}

// LoadStore is Load for who needs the store alone: its place, environment, keys
// and provider. Whatever else the file holds must be well-formed and nothing more,
// and no other file is looked at. It takes the file of dev mode, too.
func LoadStore(path string) (*Config, Problems, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	return parseWith(newReport(path), text, func(c *Config, r *report) {
		c.validateStore(r)
		r.keyFiles(&c.Keys)
		c.validateProfile(r)
		r.oneOf("log.format", c.Log.Format, "text", "json")
	})
}

func parse(r *report, text []byte) (*Config, Problems, error) {
	return parseWith(r, text, (*Config).validate)
}

func parseWith(r *report, text []byte, validate func(*Config, *report)) (*Config, Problems, error) {
	c := new(Config)
	r.hidden = misplaced(text)
	decode(text, c, r)
	if r.syntaxOnly() {
		return nil, nil, r.err()
	}
	c.applyDefaults()
	c.resolvePaths(filepath.Dir(r.file))
	if c.Store.WitnessFile == "" && c.Store.Dir != "" {
		c.Store.WitnessFile = filepath.Clean(c.Store.Dir) + ".witness"
	}
	validate(c, r)
	if err := r.err(); err != nil {
		return nil, r.warnings, err
	}
	return c, r.warnings, nil
}

// syntaxOnly reports whether nothing could be decoded, so that validation
// would only call everything missing.
func (r *report) syntaxOnly() bool { return len(r.problems) > 0 && len(r.lines) == 0 }

// resolvePaths makes relative paths count from dir.
func (c *Config) resolvePaths(dir string) {
	paths := []*string{
		&c.Store.Dir, &c.Store.WitnessFile, &c.Store.Postgres.DSNFile, &c.HTTP.CertFile, &c.HTTP.KeyFile,
		&c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.ClientCAFile, &c.Provider.CAFile, &c.Provider.ProxyURLFile, &c.Audit.File,
		&c.Audit.CheckpointFile, &c.Audit.OTLP.CAFile,
	}
	paths = append(paths, c.Identity.paths()...)
	paths = append(paths, c.Keys.paths()...)
	for i := range c.Apps {
		for j := range c.Apps[i].ClientSecretFiles {
			paths = append(paths, &c.Apps[i].ClientSecretFiles[j])
		}
	}
	c.Policy.resolvePaths(dir)
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
