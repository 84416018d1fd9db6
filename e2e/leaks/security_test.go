package leaks

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`")
)

// SECURITY.md says which test shows what; a test that was renamed or removed takes
// the promise with it.
func TestTheTestsThatTheThreatModelNamesExist(t *testing.T) {
	tests := map[string]bool{}
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, path)
		for _, f := range testFunc.FindAllSubmatch(text, -1) {
			tests[string(f[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(root, "SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "## Threat model\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| asset ") {
			continue
		}
		rows++
		if len(cells) != 5 || !testName.MatchString(cells[3]) || strings.TrimSpace(cells[4]) == "" {
			t.Errorf("a row of the threat model is not whole, or names no test: %.80s", line)
		}
	}
	if !found || rows < 15 {
		t.Errorf("SECURITY.md has a threat model of %d rows", rows)
	}
	for _, name := range testName.FindAllStringSubmatch(string(text), -1) {
		if !tests[name[1]] {
			t.Errorf("SECURITY.md names %s, which does not exist", name[1])
		}
	}
}
