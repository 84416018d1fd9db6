package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-io/holdfast/broker/policy"
)

// Policy adds Cedar policies to the rights that callers lists. All files
// together are one set; they are read again when they change.
type Policy struct {
	// Files are .cedar files, or directories of them. Default: none.
	Files []string `yaml:"files"`
	// Shadow are files of a set that only takes part in thought: where it would
	// decide otherwise is counted and logged. They stand in the place of files;
	// callers and groups are the same. Default: no shadow set.
	Shadow []string `yaml:"shadow"`
	// Groups are lists of callers' names, by the group that policies call
	// Group::"name", besides the groups that an identity brings. Default: none.
	Groups map[string][]string `yaml:"groups"`
}

func (p *Policy) resolvePaths(dir string) {
	for _, list := range [][]string{p.Files, p.Shadow} {
		for i, path := range list {
			if path != "" && !filepath.IsAbs(path) {
				list[i] = filepath.Join(dir, path)
			}
		}
	}
}

// PolicyOptions are what the set in force is made of, with its files as they are
// now. It must not be called on a file that was not validated.
func (c *Config) PolicyOptions() (policy.Options, error) { return c.policyOptions(c.Policy.Files) }

// ShadowOptions are PolicyOptions for the shadow set. Without one they make no sense.
func (c *Config) ShadowOptions() (policy.Options, error) { return c.policyOptions(c.Policy.Shadow) }

func (c *Config) policyOptions(files []string) (policy.Options, error) {
	sources, err := policy.ReadFiles(files...)
	return policy.Options{Callers: c.rules(), Groups: c.Policy.Groups, Sources: sources}, err
}

// rules are the rights of the configured callers.
func (c *Config) rules() []policy.Rule {
	rules := make([]policy.Rule, len(c.Callers))
	for i, caller := range c.Callers {
		rules[i] = policy.Rule{Caller: caller.Name, Grants: caller.Grants, Consents: caller.Consents, Admin: caller.Admin}
	}
	return rules
}

// problemsOf are the problems of policy files, in the words of this package.
func problemsOf(found policy.Problems) Problems {
	out := make(Problems, len(found))
	for i, p := range found {
		out[i] = Problem{File: p.File, Line: p.Line, Message: strings.TrimSpace(p.Message)}
	}
	return out
}

// LoadPolicy is Load for who needs callers and policy alone. Whatever else the
// file holds must be well-formed and nothing more, and no other file is looked at.
func LoadPolicy(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c, _, err := parseWith(newReport(path), text, func(c *Config, r *report) {
		c.validateCallers(r)
		c.validatePolicy(r)
	})
	return c, err
}
