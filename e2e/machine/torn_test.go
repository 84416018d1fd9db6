package machine

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

// tear is what a broken machine leaves of the newest file of a kind.
type tear struct {
	name string
	// file is a pattern below the store's directory; the last match is torn.
	file string
	// lost is how many bytes are missing at the end of what was written; -1: all.
	lost int
	// zeros keeps the file's length, with zeros in the place of what is missing.
	zeros bool
}

var tears = []tear{
	{"value log, last byte", "badger/*.vlog", 1, false},
	{"value log, last byte zero", "badger/*.vlog", 1, true},
	{"value log, half an entry", "badger/*.vlog", 200, false},
	{"value log, several entries zero", "badger/*.vlog", 5000, true},
	{"write-ahead log, last byte", "badger/*.mem", 1, false},
	{"write-ahead log, an entry zero", "badger/*.mem", 60, true},
	{"note of acknowledged commits, half", "holdfast-commits", 6, false},
	{"note of acknowledged commits, all", "holdfast-commits", -1, false},
}

// What was acknowledged is there, or the store refuses to open and says what to do.
func TestATruncatedLastWriteIsNeverSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, documented, nil, rig.Build{Plain: true})
	s := w.Serve(t)
	w.consent(t)
	for range 3 {
		w.Rotate(t, jira, busy)
		w.Rotate(t, jira, quiet)
	}
	acknowledged := map[string]uint64{busy: w.generation(t, busy), quiet: w.generation(t, quiet)}
	s.Kill(t)
	posts := w.sim.Ledger(t).TokenPosts

	opened := 0
	for _, row := range tears {
		torn := *w
		torn.Deployment = w.Copy(t)
		row.apply(t, filepath.Join(torn.Dir, "store"))
		s := torn.Launch(t)
		if !s.Serving(t) {
			t.Logf("%s: refused", row.name)
			if out := s.Output(); !strings.Contains(out, torn.Dir) ||
				!strings.Contains(out, "holdfast restore") && !strings.Contains(out, "put it back from a copy") {
				t.Errorf("%s: it ended with %q, which lacks the file or the way out", row.name, out)
			}
			continue
		}
		opened++
		t.Logf("%s: opened", row.name)
		for subject, want := range acknowledged {
			if got := torn.generation(t, subject); got != want {
				t.Errorf("%s: %s is at generation %d, and %d was acknowledged", row.name, subject, got, want)
			}
			if got, err := torn.Token(t.Context(), jira, subject); err != nil || !w.sim.Accepts(t, got.GetAccessToken()) {
				t.Errorf("%s: %s is not served: %v", row.name, subject, err)
			}
		}
		s.Kill(t)
	}
	if opened == 0 || opened == len(tears) {
		t.Errorf("%d of %d torn stores opened; want some, and some refused", opened, len(tears))
	}
	if now := w.sim.Ledger(t).TokenPosts; now != posts {
		t.Errorf("the torn stores sent %d token requests", now-posts)
	}
}

// apply tears the newest file of the kind.
func (r tear) apply(t *testing.T, store string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(store, r.file))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s in %s (%v)", r.file, store, err)
	}
	slices.Sort(files)
	file := files[len(files)-1]
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	written := bytes.TrimRight(content, "\x00") // Badger makes its logs as long as they may become
	keep := 0
	if r.lost >= 0 {
		keep = len(written) - r.lost
	}
	if err := os.Truncate(file, int64(keep)); err != nil {
		t.Fatal(err)
	}
	if r.zeros {
		if err := os.Truncate(file, int64(len(content))); err != nil {
			t.Fatal(err)
		}
	}
}
