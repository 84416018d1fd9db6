package crashpoint

import (
	"strings"
	"testing"
)

func TestAPointIsNamedWithTheCountOfItsPass(t *testing.T) {
	for _, row := range []struct {
		text, name string
		nth        uint64
		problem    string
	}{
		{"spend.guard", "spend.guard", 1, ""},
		{"spend.guard:7", "spend.guard", 7, ""},
		{"spend.nowhere", "", 0, "spend.guard, spend.written"},
		{"", "", 0, `no point ""`},
		{"spend.guard:0", "", 0, "1 or more"},
		{"spend.guard:x", "", 0, "1 or more"},
		{"spend.guard:", "", 0, "1 or more"},
	} {
		p, err := parse(row.text)
		switch {
		case row.problem != "":
			if err == nil || !strings.Contains(err.Error(), row.problem) {
				t.Errorf("%q: got %v, want an error with %q", row.text, err, row.problem)
			}
		case err != nil || p.name != row.name || p.nth != row.nth:
			t.Errorf("%q: got %+v, %v", row.text, p, err)
		}
	}
}
