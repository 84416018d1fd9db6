package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
)

// Source is one policy file.
type Source struct {
	File string
	Text []byte
}

// Options say what a set is made of. The zero value makes a set that denies all.
type Options struct {
	// Callers are rights in the short form.
	Callers []Rule
	// Groups are callers' names by group, besides what an identity says itself.
	Groups map[string][]string
	// Sources are Cedar policies. Each must have an @id of its own.
	Sources []Source
}

// Problem is one thing that is wrong with a policy file.
type Problem struct {
	File string
	// Line from 1; 0: the problem is about the whole file.
	Line    int
	Message string
}

// String formats the problem as file:line: message.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ": " + p.Message
}

// Problems is the error of a set: all that is wrong, in order of file and line.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// mostFile bounds one policy file, in bytes: somebody named the wrong one.
const mostFile = 1 << 20

// ReadFiles reads policy files; a directory stands for the files in it whose names
// end in .cedar, in order of name. It reports all problems at once, as Problems.
func ReadFiles(paths ...string) ([]Source, error) {
	var out []Source
	var found Problems
	for _, path := range paths {
		files, err := expand(path)
		if err != nil {
			found = append(found, Problem{File: path, Message: err.Error()})
			continue
		}
		for _, f := range files {
			text, err := readFile(f)
			if err != nil {
				found = append(found, Problem{File: f, Message: err.Error()})
				continue
			}
			out = append(out, Source{File: f, Text: text})
		}
	}
	if len(found) > 0 {
		return nil, found
	}
	return out, nil
}

func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w; name a .cedar file or a directory of them", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".cedar") && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(path, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("the directory holds no file whose name ends in .cedar")
	}
	return files, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if info.Size() > mostFile {
		return nil, fmt.Errorf("is larger than %d bytes, which no policy file is", mostFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return text, nil
}

// Load makes a set. The error names all that is wrong: Problems for the files,
// joined with what is wrong with the callers.
func Load(o Options) (*Set, error) {
	rules, err := compileAll(o.Callers)
	if err != nil {
		return nil, err
	}
	l := loader{seen: map[string]Problem{}, rules: rules}
	for _, s := range o.Sources {
		l.source(s)
	}
	if len(l.found) > 0 {
		slices.SortStableFunc(l.found, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
		})
		return nil, l.found
	}
	return newSet(l.rules, o.Groups, versionOf(o, rules)), nil
}

type loader struct {
	rules []*rule
	found Problems
	// seen is where each id was first.
	seen map[string]Problem
}

// ruleID is what may stand in the audit record and in messages as it is.
var ruleID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$`)

func (l *loader) source(s Source) {
	list, err := cedar.NewPolicyListFromBytes(s.File, s.Text)
	if err != nil {
		l.found = append(l.found, syntax(s.File, err))
		return
	}
	if len(list) == 0 {
		l.found = append(l.found, Problem{File: s.File, Message: "holds no policy; delete the file, or write one"})
	}
	for _, p := range list {
		line := p.Position().Line
		add := func(format string, args ...any) {
			l.found = append(l.found, Problem{File: s.File, Line: line, Message: fmt.Sprintf(format, args...)})
		}
		id := string(p.Annotations()["id"])
		first, twice := l.seen[id]
		switch {
		case id == "":
			add("the policy has no id; write @id(\"a-name\") above it: the audit record names the rule that decided")
		case !ruleID.MatchString(id):
			add("@id(%q): want 1 to 128 of the characters A-Z a-z 0-9 . _ : / @ + -, with a letter or digit first", id)
		case twice:
			add("@id(%q) is taken by the policy at %s:%d; give each its own", id, first.File, first.Line)
		default:
			l.seen[id] = Problem{File: s.File, Line: line}
		}
		for _, complaint := range check(p) {
			add("%s", complaint)
		}
		l.rules = append(l.rules, newRule(id, p))
	}
}

var place = regexp.MustCompile(`<input>:(\d+):(\d+)`)

// syntax makes a problem of a parser's error, which says the line in its text.
func syntax(file string, err error) Problem {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "parser error: "), "parse error at ")
	p := Problem{File: file}
	if at := place.FindStringSubmatch(text); at != nil {
		p.Line, _ = strconv.Atoi(at[1]) // the expression matches digits only; too many of them: the whole file
		text = strings.TrimPrefix(text, at[0])
	}
	p.Message = "not a Cedar policy: " + strings.Trim(text, ": ")
	return p
}

// versionOf is the same for the same text, whatever machine reads it.
func versionOf(o Options, compiled []*rule) string {
	h := sha256.New()
	part := func(text []byte) {
		_, _ = fmt.Fprintf(h, "%d:", len(text)) // a hash takes everything
		_, _ = h.Write(text)
	}
	for _, r := range compiled {
		part([]byte(r.id))
		part(r.policy.MarshalCedar())
	}
	groups := make([]string, 0, len(o.Groups))
	for g := range o.Groups {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	for _, g := range groups {
		part([]byte(g))
		for _, name := range o.Groups[g] {
			part([]byte(name))
		}
	}
	for _, s := range o.Sources {
		part(s.Text)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
