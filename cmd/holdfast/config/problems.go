package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong, or risky, in a file.
type Problem struct {
	File string
	// Line from 1; 0 if the problem is about the whole file.
	Line int
	// Path of the key, e.g. "apps[1].client_id"; may be empty.
	Path string
	// Message says what is wrong and what to do.
	Message string
}

// String formats the problem as file:line: path: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is the error of a file: all that is wrong with it, in order of lines.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// report collects problems and warnings while a file is being read.
type report struct {
	file string
	// lines of every key and list item by its path.
	lines              map[string]int
	problems, warnings Problems
	// bad holds the paths of values that did not decode, so that validation
	// does not call the same value missing as well.
	bad map[string]bool
	// hidden texts of the file are in no message.
	hidden []string
	// dev permits what dev mode needs and serve refuses.
	dev bool
}

func newReport(file string) *report {
	return &report{file: file, lines: map[string]int{}, bad: map[string]bool{}}
}

func (r *report) addAt(line int, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.file, line, path, fmt.Sprintf(format, args...)})
}

// add reports a problem at the line of path, or of what encloses it.
func (r *report) add(path, format string, args ...any) {
	r.addAt(r.lineOf(path), path, format, args...)
}

func (r *report) warn(path, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{r.file, r.lineOf(path), path, fmt.Sprintf(format, args...)})
}

func (r *report) lineOf(path string) int {
	for {
		if line, ok := r.lines[path]; ok {
			return line
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
}

// broken reports whether the value at path, or one that encloses it, did not decode.
func (r *report) broken(path string) bool {
	for {
		if r.bad[path] {
			return true
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return false
		}
		path = path[:cut]
	}
}

// err returns the problems in order of lines, or nil; it sorts the warnings, too,
// and takes what looks like a secret out of both.
func (r *report) err() error {
	byLine := func(a, b Problem) int { return a.Line - b.Line }
	r.problems.hide(r.hidden)
	r.warnings.hide(r.hidden)
	slices.SortStableFunc(r.warnings, byLine)
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, byLine)
	return r.problems
}
