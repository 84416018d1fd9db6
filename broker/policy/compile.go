package policy

import (
	"errors"
	"fmt"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/holdfast-io/holdfast/storage"
)

// ownPrefix begins the ids of the policies that the short form becomes; no file
// may use it.
const ownPrefix = "callers["

// compileAll turns the short form into policies. It reports all problems at once.
func compileAll(rules []Rule) ([]*rule, error) {
	var out []*rule
	var errs []error
	seen := make(map[string]bool, len(rules))
	for i, r := range rules {
		if r.Caller == "" {
			errs = append(errs, fmt.Errorf("callers[%d]: name is missing", i))
			continue
		}
		if seen[r.Caller] {
			errs = append(errs, fmt.Errorf("callers[%d]: %q is listed twice; merge the two", i, r.Caller))
			continue
		}
		seen[r.Caller] = true
		p, err := r.compile()
		if err != nil {
			errs = append(errs, err)
		} else if p != nil {
			out = append(out, newRule(ownPrefix+r.Caller+"]", cedar.NewPolicyFromAST(p)))
		}
	}
	return out, errors.Join(errs...)
}

// compile returns the one policy that says the same; nil: the rule gives no right.
func (r Rule) compile() (*ast.Policy, error) {
	at := ownPrefix + r.Caller + "]"
	draws, err := patterns(at+".grants", r.Grants)
	consents, err2 := patterns(at+".consents", r.Consents)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	var may []ast.Node
	var scope []types.EntityUID
	grant := func(a Action, which []ast.Node) {
		if len(which) > 0 {
			scope = append(scope, actionUID(a))
			may = append(may, ast.Action().Equal(ast.Value(actionUID(a))).And(ast.Resource().Is(typeGrant)).And(anyOf(which)))
		}
	}
	grant(Draw, draws)
	if r.Admin {
		scope = append(scope, actionUID(Consent), adminAction)
		may = append(may, ast.Action().Equal(ast.Value(actionUID(Consent))), ast.Action().In(ast.Value(adminAction)))
	} else {
		grant(Consent, consents)
	}
	if len(may) == 0 {
		return nil, nil
	}
	return ast.Permit().PrincipalEq(types.NewEntityUID(typeCaller, types.String(r.Caller))).ActionInSet(scope...).When(anyOf(may)), nil
}

func anyOf(nodes []ast.Node) ast.Node {
	out := nodes[0]
	for _, n := range nodes[1:] {
		out = out.Or(n)
	}
	return out
}

func patterns(at string, texts []string) ([]ast.Node, error) {
	var out []ast.Node
	var errs []error
	for i, t := range texts {
		n, err := pattern(t)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", at, i, err))
			continue
		}
		out = append(out, n)
	}
	return out, errors.Join(errs...)
}

// CheckPattern says what is wrong with a pattern of a Rule; nil: nothing.
func CheckPattern(text string) error {
	_, err := pattern(text)
	return err
}

// pattern is the condition that the resource's address matches the text.
func pattern(text string) (ast.Node, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 3 {
		parts = append(parts, storage.DefaultName)
	}
	if len(parts) != 4 {
		return ast.Node{}, fmt.Errorf("pattern %q: want tenant/subject/product or tenant/subject/product/name, * for any", text)
	}
	// A pattern is valid if it is an address once its stars are letters.
	plain := make([]string, 4)
	for i, p := range parts {
		plain[i] = strings.ReplaceAll(p, "*", "x")
	}
	if err := (storage.Address{Tenant: plain[0], Subject: plain[1], Product: plain[2], Name: plain[3]}).Validate(); err != nil {
		return ast.Node{}, fmt.Errorf("pattern %q: %w", text, err)
	}
	out := ast.True()
	for i, name := range []types.String{"tenant", "subject", "product", "name"} {
		if strings.Trim(parts[i], "*") != "" {
			out = out.And(segment(ast.Resource().Access(name), parts[i]))
		}
	}
	return out, nil
}

func segment(value ast.Node, glob string) ast.Node {
	if !strings.Contains(glob, "*") {
		return value.Equal(ast.String(types.String(glob)))
	}
	var like []any
	for i, literal := range strings.Split(glob, "*") {
		if i > 0 {
			like = append(like, types.Wildcard{})
		}
		like = append(like, literal)
	}
	return value.Like(types.NewPattern(like...))
}
