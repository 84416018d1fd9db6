package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keptAt is the checkpoint of number seq that somebody kept.
func keptAt(t *testing.T, seq uint64, files ...string) Checkpoint {
	t.Helper()
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for text := range bytes.Lines(raw) {
			if l, ok := parseLink(trimNewline(text)); ok && l.seq == seq {
				return Checkpoint{Origin: testOrigin, Seq: seq, Hash: l.hash, Time: testConfig("").Now()}
			}
		}
	}
	t.Fatalf("number %d is nowhere", seq)
	return Checkpoint{}
}

// firstOf is the number of the file's first line.
func firstOf(t *testing.T, name string) uint64 {
	t.Helper()
	seq, err := firstSeq(name)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestOldestFilesThatSomebodyTookAwayAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	files := rotated(t, path, 28)
	before := firstOf(t, files[2]) - 1 // the last line of those that are taken away
	last, inside := keptAt(t, before, files...), keptAt(t, 2, files...)
	other := last
	other.Hash[0] ^= 1
	for _, row := range []struct {
		name string
		part bool
		kept []Checkpoint
		want []Kind
		// notes about what is not known or compared.
		notes int
	}{
		{"nothing kept", false, nil, []Kind{Removed}, 0},
		{"a checkpoint in them", false, []Checkpoint{inside}, []Kind{Removed, Removed}, 0},
		{"the checkpoint of their last line", false, []Checkpoint{last}, []Kind{Removed}, 0},
		{"another checkpoint of their last line", false, []Checkpoint{other}, []Kind{Removed, Rewritten}, 0},
		{"a part, and nothing kept", true, nil, nil, 1},
		{"a part, and a checkpoint of before", true, []Checkpoint{inside}, nil, 2},
		{"a part, and the checkpoint of the line before", true, []Checkpoint{last}, nil, 1},
		{"a part that does not go on from what was kept", true, []Checkpoint{other}, []Kind{Rewritten}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := verified(t, VerifyOptions{Key: testKey(t), Kept: row.kept, Part: row.part}, files[2:]...)
			if len(r.Notes) != row.notes || len(r.Findings) != len(row.want) {
				t.Fatalf("got %+v, want %v and %d notes", r, row.want, row.notes)
			}
			for i, f := range r.Findings {
				if f.Kind != row.want[i] || f.At.File != files[2] || f.At.Line != 1 {
					t.Errorf("found %+v, want %s at the beginning of %s", f, row.want[i], files[2])
				}
			}
		})
	}
}

// What Holdfast removed as configured is told of by a later line, and no finding;
// one file more that is missing is one.
func TestOldestFilesThatHoldfastRemovedAreNoFinding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	files := rotated(t, path, 28)
	inside, gone := keptAt(t, 2, files...), firstOf(t, files[4])-1
	c := testConfig(path)
	c.RotateSize, c.Keep = 1, 3
	l := mustOpen(t, c)
	mustWrite(t, l, record(30))
	mustWrite(t, l, record(31)) // the writer has rotated
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	left := allFiles(t, path)
	if first := firstOf(t, left[0]); first <= gone {
		t.Fatalf("the record still begins with number %d", first)
	}
	o := VerifyOptions{Key: testKey(t), Kept: []Checkpoint{inside}}
	r := verified(t, o, left...)
	if len(r.Findings) > 0 || !strings.Contains(strings.Join(r.Notes, "\n"), "as a later line says") {
		t.Fatalf("got %+v", r)
	}
	if r = verified(t, o, left[1:]...); len(r.Findings) != 2 || r.Findings[0].Kind != Removed {
		t.Fatalf("one file more is missing: %+v", r)
	}
}
