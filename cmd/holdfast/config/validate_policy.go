package config

import (
	"errors"
	"strconv"

	"github.com/holdfast-io/holdfast/broker/policy"
)

// validatePolicy reads and checks the policy files. What is wrong inside of one
// is reported with its own file and line.
func (c *Config) validatePolicy(r *report) {
	for group, names := range c.Policy.Groups {
		path := "policy.groups." + group
		if group == "" {
			r.add("policy.groups", "a group has no name")
		}
		for i, name := range names {
			if at := path + "[" + strconv.Itoa(i) + "]"; name == "" && !r.broken(at) {
				r.add(at, "empty; give the name of a caller")
			}
		}
	}
	for _, set := range []struct {
		path  string
		files []string
	}{{"policy.files", c.Policy.Files}, {"policy.shadow", c.Policy.Shadow}} {
		if r.broken(set.path) {
			continue
		}
		c.validateSet(r, set.path, set.files)
	}
}

func (c *Config) validateSet(r *report, path string, files []string) {
	for i, f := range files {
		if at := path + "[" + strconv.Itoa(i) + "]"; f == "" && !r.broken(at) {
			r.add(at, "empty; name a .cedar file or a directory of them")
			return
		}
	}
	sources, err := policy.ReadFiles(files...)
	if err == nil {
		_, err = policy.Load(policy.Options{Sources: sources}) // callers have their own lines: validateCallers
	}
	if found, ok := errors.AsType[policy.Problems](err); ok {
		r.problems = append(r.problems, problemsOf(found)...)
	} else if err != nil {
		r.add(path, "%v", err)
	}
}
