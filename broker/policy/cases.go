package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/holdfast-io/holdfast/storage"
)

// Cases are a file of `holdfast policy test`: calls, and what a set must say of them.
type Cases struct {
	// Policies are .cedar files or directories of them, from the file's own directory.
	Policies []string `yaml:"policies"`
	// Groups are lists of callers' names, as in the configuration's policy.groups.
	Groups map[string][]string `yaml:"groups"`
	Cases  []Case              `yaml:"cases"`
}

// Case is one call and what must become of it.
type Case struct {
	// Name says what the case shows. Default: its action and grant.
	Name   string   `yaml:"name"`
	Caller string   `yaml:"caller"`
	Kind   string   `yaml:"kind"` // x509, spiffe, jwt or proxy; default x509
	Groups []string `yaml:"groups"`
	Action Action   `yaml:"action"`
	// Grant by its address; empty: the action is about the broker.
	Grant   string   `yaml:"grant"`
	Scopes  []string `yaml:"scopes"`
	Purpose string   `yaml:"purpose"`
	Site    string   `yaml:"site"`
	// Time of the call, e.g. "2026-03-04T15:00:00Z". Default: that one, a Wednesday.
	Time string `yaml:"time"`
	// Want is "allow" or "deny". Required.
	Want string `yaml:"want"`
	// Rule that must have decided; empty: any.
	Rule string `yaml:"rule"`
}

// caseTime is a moment in working hours, so that cases do not fail at night.
const caseTime = "2026-03-04T15:00:00Z"

// ParseCases reads a file of cases strictly; file names it in messages. The
// error names all cases that can not be asked.
func ParseCases(file string, text []byte) (*Cases, error) {
	var c Cases
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
		if at, ok := errors.AsType[yaml.Error](err); ok && at.GetToken() != nil {
			return nil, Problems{{File: file, Line: at.GetToken().Position.Line, Message: at.GetMessage()}}
		}
		return nil, Problems{{File: file, Message: err.Error()}}
	}
	var found Problems
	if len(c.Cases) == 0 {
		found = append(found, Problem{File: file, Message: "has no cases; write one below `cases:`"})
	}
	for i := range c.Cases {
		for _, complaint := range c.Cases[i].complete() {
			found = append(found, Problem{File: file, Message: fmt.Sprintf("case %d (%s): %s", i+1, c.Cases[i].Name, complaint)})
		}
	}
	if len(found) > 0 {
		return nil, found
	}
	return &c, nil
}

// complete fills in defaults and says what is wrong.
func (c *Case) complete() []string {
	if c.Name == "" {
		c.Name = strings.TrimSpace(c.Caller + " " + string(c.Action) + " " + c.Grant)
	}
	if c.Kind == "" {
		c.Kind = "x509"
	}
	if c.Time == "" {
		c.Time = caseTime
	}
	var out []string
	if c.Caller == "" {
		out = append(out, "caller is missing")
	}
	if !slices.Contains([]string{"x509", "spiffe", "jwt", "proxy"}, c.Kind) {
		out = append(out, fmt.Sprintf("kind %q: want x509, spiffe, jwt or proxy", c.Kind))
	}
	if c.Action.number() < 0 {
		out = append(out, fmt.Sprintf("action %q: want one of %v", c.Action, actions))
	}
	if c.Want != "allow" && c.Want != "deny" {
		out = append(out, fmt.Sprintf("want %q: write allow or deny", c.Want))
	}
	if _, err := time.Parse(time.RFC3339, c.Time); err != nil {
		out = append(out, fmt.Sprintf("time %q: want a form such as %q, in quotes", c.Time, caseTime))
	}
	if c.Grant != "" {
		if _, err := storage.ParseAddress(c.Grant); err != nil {
			out = append(out, "grant: "+err.Error())
		}
	}
	return out
}

// Request is the call that the case describes. The case must come from ParseCases.
func (c *Case) Request() Request {
	r := Request{
		Caller: c.Caller, Kind: c.Kind, Groups: slices.Sorted(slices.Values(c.Groups)), Action: c.Action,
		Site: c.Site, Scopes: c.Scopes, Purpose: c.Purpose,
	}
	r.Now, _ = time.Parse(time.RFC3339, c.Time) // ParseCases has looked
	if c.Grant != "" {
		r.Address, _ = storage.ParseAddress(c.Grant) // likewise
	}
	return r
}

// Result is what a set says of a case.
type Result struct {
	Case   *Case
	Got    Explanation
	Passed bool
}

// Verdict is the decision in the words of a case.
func (e *Explanation) Verdict() string {
	if e.Allow {
		return "allow"
	}
	return "deny"
}

// Run asks a set about each case.
func (c *Cases) Run(set *Set) []Result {
	out := make([]Result, len(c.Cases))
	for i := range c.Cases {
		one := &c.Cases[i]
		got := set.Explain(one.Request())
		passed := got.Verdict() == one.Want && (one.Rule == "" || slices.Contains(got.Rules, one.Rule))
		out[i] = Result{Case: one, Got: got, Passed: passed}
	}
	return out
}
