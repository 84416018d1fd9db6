package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// past is the history of a record: its lines as they stand in its files, oldest first.
type past struct {
	files []string
	lines []standing
	kept  Checkpoint
}

// standing is one line, with its newline, in its file.
type standing struct {
	file int
	text []byte
}

// live writes, restarts, crashes and rotates as rt draws it.
func live(rt *rapid.T, path string, key string) *past {
	n, kept := 0, ""
	for range rapid.IntRange(1, 5).Draw(rt, "lives") {
		c := testConfig(path)
		c.RotateSize = rapid.Int64Range(400, 4000).Draw(rt, "rotate_size")
		l, err := Open(c)
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(0, 9).Draw(rt, "records") {
			r := record(n)
			if rapid.IntRange(0, 4).Draw(rt, "odd") == 0 {
				r.Purpose = rapid.StringN(0, 20, 60).Draw(rt, "purpose")
			}
			if err := l.Write(r); err != nil {
				rt.Fatal(err)
			}
			n++
		}
		if err := l.Close(); err != nil {
			rt.Fatal(err)
		}
		if text := l.Checkpoint(); text != "" {
			kept = text
		}
		tear(rt, path, n)
	}
	c := testConfig(path) // the last life tells of the last crash
	l, err := Open(c)
	if err != nil {
		rt.Fatal(err)
	}
	if err := l.Write(record(n)); err != nil {
		rt.Fatal(err)
	}
	if err := l.Close(); err != nil {
		rt.Fatal(err)
	}
	if text := l.Checkpoint(); text != "" {
		kept = text
	}
	p := &past{}
	if p.kept, err = ParseCheckpoint([]byte(kept), key); err != nil {
		rt.Fatal(err)
	}
	full, err := segments(path)
	if err != nil {
		rt.Fatal(err)
	}
	for i, name := range append(full, path) {
		text, err := os.ReadFile(name)
		if err != nil {
			rt.Fatal(err)
		}
		p.files = append(p.files, name)
		for _, line := range bytes.SplitAfter(text, []byte("\n")) {
			if len(line) > 0 {
				p.lines = append(p.lines, standing{i, line})
			}
		}
	}
	return p
}

// tear leaves the end of the newest file as a crash within a write does, perhaps.
func tear(rt *rapid.T, path string, n int) {
	next := (&chain{seq: uint64(1000 + n)}).append(nil, record(n).appendBody(nil))
	cut := rapid.IntRange(0, len(next)-2).Draw(rt, "torn")
	if !rapid.Bool().Draw(rt, "crash") {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		rt.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(next[:cut]); err != nil {
		rt.Fatal(err)
	}
}

// signed is how many lines the newest checkpoint that was kept speaks for.
func (p *past) signed() int {
	for i, l := range p.lines {
		if link, ok := parseLink(trimNewline(l.text)); ok && link.seq == p.kept.Seq {
			return i + 1
		}
	}
	return 0
}

// change does one thing to the lines that are signed, and returns the lines
// between which it must be named.
func (p *past) change(rt *rapid.T) (what string, lines []standing, from, to int) {
	signed := p.signed()
	i, lines := rapid.IntRange(0, signed-1).Draw(rt, "line"), slices.Clone(p.lines)
	switch kind := rapid.IntRange(0, 4).Draw(rt, "change"); kind {
	case 0:
		text := bytes.Clone(lines[i].text)
		at, bit := rapid.IntRange(0, len(text)-1).Draw(rt, "byte"), rapid.IntRange(0, 7).Draw(rt, "bit")
		text[at] ^= 1 << bit
		lines[i].text = text
		return fmt.Sprintf("bit %d of byte %d of line %d", bit, at, i), lines, i, i + 2
	case 1:
		return fmt.Sprintf("line %d removed", i), slices.Delete(lines, i, i+1), i - 1, i + 1 // or at a torn line, or after it
	case 2:
		j := rapid.IntRange(0, signed-1).Draw(rt, "other")
		if lines[i].file != lines[j].file || i == j {
			rt.Skip("lines of two files")
		}
		lines[i].text, lines[j].text = lines[j].text, lines[i].text
		return fmt.Sprintf("lines %d and %d exchanged", i, j), lines, min(i, j), max(i, j) + 1
	case 3:
		k := rapid.IntRange(0, len(lines)-1).Draw(rt, "copied")
		return fmt.Sprintf("line %d copied before line %d", k, i), slices.Insert(lines, i, standing{lines[i].file, lines[k].text}), i - 1, i + 2
	default:
		if i == signed-1 {
			i--
		}
		return fmt.Sprintf("cut off after line %d", i), lines[:i+1], i - 1, i // a torn line is not named
	}
}

// write replaces the files by lines.
func (p *past) write(rt *rapid.T, lines []standing) {
	for i, name := range p.files {
		var text []byte
		for _, l := range lines {
			if l.file == i {
				text = append(text, l.text...)
			}
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			rt.Fatal(err)
		}
	}
}

// index of a place among lines, whose text is as the files have it.
func (p *past) index(lines []standing, at Place) int {
	line := 0
	for i, l := range lines {
		if p.files[l.file] != at.File {
			continue
		}
		if line += bytes.Count(l.text, []byte("\n")); line >= at.Line {
			return i
		}
	}
	return len(lines)
}

func TestWhateverHappensIsWholeAndWhateverIsChangedIsFoundWhereItIs(t *testing.T) {
	key := testKey(t)
	rapid.Check(t, func(rt *rapid.T) {
		p := live(rt, filepath.Join(t.TempDir(), "audit.log"), key)
		o := VerifyOptions{Key: key, Kept: []Checkpoint{p.kept}}
		r, err := Verify(t.Context(), p.files, o)
		if err != nil || len(r.Findings) > 0 || r.First.Seq != 1 {
			rt.Fatalf("nobody touched it: from number %d, %+v, %v", r.First.Seq, r.Findings, err)
		}
		what, lines, from, to := p.change(rt)
		p.write(rt, lines)
		if r, err = Verify(t.Context(), p.files, o); err != nil {
			rt.Fatalf("%s: %v", what, err)
		}
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
			i := p.index(lines, f.At)
			return from <= i && i <= to
		}) {
			rt.Fatalf("%s: want it named between lines %d and %d, got %+v", what, from, to, r.Findings)
		}
	})
}
