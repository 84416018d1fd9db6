package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// Fact is one thing that the rules could read, as Cedar writes it.
type Fact struct{ Name, Value string }

// Explanation is a decision and what led to it.
type Explanation struct {
	Allow bool
	// Rules that decided: all permits, or all forbids; none: nothing matched, which denies.
	Rules []string
	// Facts in order of name.
	Facts []Fact
	// Errors of rules that failed on the facts; such a rule decides nothing.
	Errors []string
	// Shadow is what the shadow set says; nil: there is none.
	Shadow  *Explanation
	Version string
}

// Explain decides afresh and says why. It is remembered and counted nowhere.
func (e *Engine) Explain(r Request) Explanation {
	out := e.set.Load().Explain(r)
	if shadow := e.shadow.Load(); shadow != nil {
		s := shadow.Explain(r)
		out.Shadow = &s
	}
	return out
}

// Explain decides afresh and says why.
func (s *Set) Explain(r Request) Explanation {
	v := s.view(r.Caller)
	out := Explanation{Version: s.version, Facts: factsOf(v, &r)}
	if r.Action.number() < 0 || r.Caller == "" {
		return out
	}
	got := s.evaluate(v, r)
	out.Allow, out.Rules, out.Errors = got.allow, got.rules, got.failed
	return out
}

func factsOf(v *view, r *Request) []Fact {
	w := worldOf(v, r)
	out := []Fact{
		{"action", actionUID(r.Action).String()},
		{"principal", w.principal.UID.String()},
		{"resource", w.resource.UID.String()},
	}
	var groups []string
	for g := range w.principal.Parents.All() {
		groups = append(groups, g.String())
	}
	slices.Sort(groups)
	out = append(out, Fact{"principal.groups", "[" + strings.Join(groups, ", ") + "]"})
	for prefix, record := range map[string]types.Record{
		"principal.": w.principal.Attributes, "resource.": w.resource.Attributes, "context.": asked(r),
	} {
		for name, value := range record.All() {
			out = append(out, Fact{prefix + string(name), string(value.MarshalCedar())})
		}
	}
	slices.SortFunc(out, func(a, b Fact) int { return strings.Compare(a.Name, b.Name) })
	return out
}
