package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// longestName of a caller or group, in bytes: that of a SPIFFE ID.
	longestName = 2048
	// longestFact that may be put into a name, in bytes.
	longestFact = 256
	// mostGroups of one caller. One with more is refused: to leave some out could
	// lift a rule that forbids.
	mostGroups = 256
)

// Template makes names from facts: literal text, with {fact} where a fact goes.
// It is immutable.
type Template struct {
	text  string
	parts []part
}

// part is a literal and the fact that follows it, if any.
type part struct{ literal, fact string }

// ParseTemplate reads a template, such as "{organization}.{common_name}".
func ParseTemplate(text string) (*Template, error) {
	t := &Template{text: text}
	bad := func(what string) (*Template, error) {
		return nil, fmt.Errorf("template %q: %s; want text with facts in braces, such as \"ci:{sub}\"", text, what)
	}
	for rest := text; rest != ""; {
		literal, after, braced := strings.Cut(rest, "{")
		if strings.ContainsRune(literal, '}') || !sane(literal) {
			return bad("a brace is closed that was not opened, or a character cannot be part of a name")
		}
		if !braced {
			t.parts = append(t.parts, part{literal: literal})
			break
		}
		fact, after, closed := strings.Cut(after, "}")
		if !closed || fact == "" || strings.ContainsAny(fact, "{ ") {
			return bad("a brace is not closed, or there is no fact in it")
		}
		if literal == "" && len(t.parts) > 0 {
			return bad("two facts without a text between them: different callers could get one name")
		}
		t.parts = append(t.parts, part{literal, fact})
		rest = after
	}
	if len(t.Facts()) == 0 {
		return bad("it holds no fact, so that all callers would have one name")
	}
	return t, nil
}

// Facts are the names of the facts in the template, in order.
func (t *Template) Facts() []string {
	var facts []string
	for _, p := range t.parts {
		if p.fact != "" {
			facts = append(facts, p.fact)
		}
	}
	return facts
}

// Prefix is the literal text before the first fact.
func (t *Template) Prefix() string { return t.parts[0].literal }

var errNoFact = errors.New("it is missing")

// name makes the one name; each fact must have one value.
func (t *Template) name(values func(fact string) []string) (string, error) {
	var b strings.Builder
	for i, p := range t.parts {
		b.WriteString(p.literal)
		if p.fact == "" {
			continue
		}
		all := values(p.fact)
		if len(all) > 1 {
			return "", fmt.Errorf("%s: it has %d values, and a name needs one", p.fact, len(all))
		}
		if len(all) == 0 {
			return "", fmt.Errorf("%s: %w", p.fact, errNoFact)
		}
		if err := t.fits(i, all[0]); err != nil {
			return "", fmt.Errorf("%s: %w", p.fact, err)
		}
		b.WriteString(all[0])
	}
	if b.Len() > longestName {
		return "", fmt.Errorf("the name would be longer than %d bytes", longestName)
	}
	return b.String(), nil
}

// fits reports whether a value may stand at the fact of part i. If it held the
// text that ends the fact, two different sets of facts could make one name.
func (t *Template) fits(i int, value string) error {
	last := i+1 >= len(t.parts) || t.parts[i+1].fact == ""
	switch {
	case value == "" || len(value) > longestFact || !sane(value):
		return fmt.Errorf("want 1 to %d printable ASCII characters", longestFact)
	case !last && strings.Contains(value, t.parts[i+1].literal):
		return fmt.Errorf("it holds %q, which separates it from the next", t.parts[i+1].literal)
	}
	return nil
}

// groups makes a name for each value of the one fact that may have several. A
// fact without a value makes none.
func (t *Template) groups(values func(fact string) []string) ([]string, error) {
	several, all := "", []string{""}
	for _, fact := range t.Facts() {
		switch v := values(fact); {
		case len(v) == 0:
			return nil, nil
		case len(v) > 1 && several != "" && several != fact:
			return nil, fmt.Errorf("%s and %s both have several values; a group can have one such fact", several, fact)
		case len(v) > mostGroups:
			return nil, fmt.Errorf("%s: more than %d groups", fact, mostGroups)
		case len(v) > 1:
			several, all = fact, v
		}
	}
	var names []string
	for _, one := range all {
		name, err := t.name(func(fact string) []string {
			if fact == several {
				return []string{one}
			}
			return values(fact)
		})
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// sane reports whether s is printable ASCII.
func sane(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// together returns the groups of several templates, sorted, each once.
func together(templates []*Template, values func(fact string) []string) ([]string, error) {
	var all []string
	for _, t := range templates {
		names, err := t.groups(values)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) > mostGroups {
		return nil, fmt.Errorf("more than %d groups", mostGroups)
	}
	return all, nil
}
