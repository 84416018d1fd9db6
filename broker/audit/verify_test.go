package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	testSeed   = bytes.Repeat([]byte{7}, ed25519.SeedSize)
	testOrigin = Origin("str_test")
)

// testConfig is of a log whose times are fixed and whose checkpoints come every fourth record.
func testConfig(path string) Config {
	return Config{
		File: path, Origin: testOrigin, Key: ed25519.NewKeyFromSeed(testSeed), CheckpointRecords: 4, CheckpointEvery: time.Hour,
		Now: func() time.Time { return time.Unix(1_800_000_000, 0) }, Log: slog.New(slog.DiscardHandler),
	}
}

func record(n int) *Record {
	return &Record{Time: time.Unix(1_800_000_000+int64(n), 0), RequestID: fmt.Sprint("r", n), Caller: "svc", Method: "GetAccessToken",
		Grant: "acme/a/jira", GrantID: "grt_1", Generation: uint64(n + 1), Outcome: "ok"}
}

// written makes a log of n records and returns its lines and its last checkpoint.
func written(t *testing.T, path string, n int) (lines [][]byte, last Checkpoint) {
	t.Helper()
	l := mustOpen(t, testConfig(path))
	for i := range n {
		mustWrite(t, l, record(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	last, err := ParseCheckpoint([]byte(l.Checkpoint()), testKey(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines = bytes.SplitAfter(raw, []byte("\n"))
	return lines[:len(lines)-1], last
}

func testKey(t *testing.T) string {
	t.Helper()
	key, err := VerifierKey(testOrigin, testSeed)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustOpen(t *testing.T, c Config) *Log {
	t.Helper()
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func mustWrite(t *testing.T, l *Log, r *Record) {
	t.Helper()
	if err := l.Write(r); err != nil {
		t.Fatal(err)
	}
}

func verified(t *testing.T, o VerifyOptions, files ...string) *Report {
	t.Helper()
	r, err := Verify(context.Background(), files, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// verifiedBytes verifies what a file would hold.
func verifiedBytes(t *testing.T, o VerifyOptions, content []byte) *Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tampered")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return verified(t, o, path)
}

func TestAWholeLogVerifies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	lines, last := written(t, path, 10)
	r := verified(t, VerifyOptions{Key: testKey(t), Kept: []Checkpoint{last}}, path)
	if len(r.Findings) > 0 || len(r.Notes) > 0 || r.Lines != uint64(len(lines)) || r.Checkpoints != 3 || r.Unsigned != 0 {
		t.Fatalf("got %+v", r)
	}
	if r.First.Seq != 1 || r.Last.Seq != uint64(len(lines)) || r.Last.Line != len(lines) || r.Last.Time.IsZero() {
		t.Fatalf("from %v to %v", r.First, r.Last)
	}
}

// rechained computes all hashes from line i on anew, as one who has no key can.
func rechained(lines [][]byte, i int) [][]byte {
	out := slices.Clone(lines[:i])
	c := chain{seq: uint64(i)}
	if i > 0 {
		l, _ := parseLink(trimNewline(lines[i-1]))
		c.prev = l.hash
	}
	for _, text := range lines[i:] {
		l, _ := parseLink(trimNewline(text))
		_, body, _ := bytes.Cut(l.hashed, []byte(","))
		out = append(out, c.append(nil, body))
	}
	return out
}

func TestEveryTamperingAtEveryPlaceIsFoundAndNamed(t *testing.T) {
	lines, last := written(t, filepath.Join(t.TempDir(), "audit.log"), 10)
	o := VerifyOptions{Key: testKey(t), Kept: []Checkpoint{last}}
	n := len(lines)
	forged := (&chain{seq: 3}).append(nil, record(99).appendBody(nil))
	for _, row := range []struct {
		name string
		// change returns the lines and the index of the line that must be named;
		// nil: not at this place.
		change func(i int) ([][]byte, int)
		want   []Kind
	}{
		{"a changed field", func(i int) ([][]byte, int) {
			out := slices.Clone(lines)
			out[i] = bytes.Replace(out[i], []byte(`Z",`), []byte(`A",`), 1)
			return out, i
		}, []Kind{Changed, Removed}},
		{"a changed line with its own hash made anew", func(i int) ([][]byte, int) {
			if i == n-1 {
				return nil, 0
			}
			out := slices.Clone(lines)
			out[i] = bytes.Replace(out[i], []byte(`T08:`), []byte(`T09:`), 1)
			return append(rechained(out[:i+1], i), out[i+1:]...), i + 1
		}, []Kind{Changed, Rewritten}},
		{"a line overwritten with something else", func(i int) ([][]byte, int) {
			out := slices.Clone(lines)
			out[i] = append(bytes.Repeat([]byte("x"), len(out[i])-1), '\n')
			return out, i
		}, []Kind{Changed, Removed, Truncated}},
		{"a removed line", func(i int) ([][]byte, int) { return slices.Delete(slices.Clone(lines), i, i+1), i }, []Kind{Removed, Truncated}},
		{"two neighbours exchanged", func(i int) ([][]byte, int) {
			if i == n-1 {
				return nil, 0
			}
			out := slices.Clone(lines)
			out[i], out[i+1] = out[i+1], out[i]
			return out, i + 1
		}, []Kind{Reordered, Removed, Inserted}},
		{"a line moved to the end", func(i int) ([][]byte, int) {
			if i == 0 || i >= n-3 {
				return nil, 0
			}
			return append(slices.Delete(slices.Clone(lines), i, i+1), lines[i]), n - 1
		}, []Kind{Reordered, Removed, Inserted}},
		{"a copy of an earlier line", func(i int) ([][]byte, int) { return slices.Insert(slices.Clone(lines), i+1, lines[i/2]), i + 1 }, []Kind{Inserted}},
		{"a record that fits nowhere", func(i int) ([][]byte, int) { return slices.Insert(slices.Clone(lines), i+1, forged), i + 1 }, []Kind{Inserted, Changed}},
		{"a line without a number", func(i int) ([][]byte, int) {
			if i == n-1 {
				return nil, 0 // a torn end
			}
			return slices.Insert(slices.Clone(lines), i+1, []byte("{\"time\":\"x\"}\n")), i + 1
		}, []Kind{Inserted}},
		{"a record put in with the right hash", func(i int) ([][]byte, int) {
			l, _ := parseLink(trimNewline(lines[i]))
			return slices.Insert(slices.Clone(lines), i+1, (&chain{seq: l.seq, prev: l.hash}).append(nil, record(99).appendBody(nil))), i + 1
		}, []Kind{Inserted, Rewritten}},
		{"the end cut off", func(i int) ([][]byte, int) { return lines[:i+1], i }, []Kind{Truncated}},
		{"all made anew from there on", func(i int) ([][]byte, int) {
			out := slices.Clone(lines)
			out[i] = bytes.Replace(out[i], []byte(`T08:`), []byte(`T09:`), 1)
			return rechained(out, i), -1
		}, []Kind{Rewritten}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for i := range n {
				changed, at := row.change(i)
				if changed == nil || i == n-1 || row.name == "the end cut off" && i == n-2 {
					continue // the newest checkpoint, the last line, covers all but itself
				}
				r := verifiedBytes(t, o, bytes.Join(changed, nil))
				if len(r.Findings) == 0 {
					t.Fatalf("line %d: nothing found", i+1)
				}
				f := r.Findings[0]
				if !slices.Contains(row.want, f.Kind) {
					t.Errorf("line %d: found %v, want one of %v", i+1, r.Findings, row.want)
				}
				if at >= 0 && (f.At.Line < at+1 && f.At.Line != i+1 || f.At.Line > at+2) {
					t.Errorf("line %d: named line %d, want %d: %v", i+1, f.At.Line, at+1, r.Findings)
				}
			}
		})
	}
}

func TestAChangeOfAnyByteIsFound(t *testing.T) {
	lines, last := written(t, filepath.Join(t.TempDir(), "audit.log"), 2)
	whole := bytes.Join(lines, nil)
	o := VerifyOptions{Kept: []Checkpoint{last}} // the chain alone, and what was kept
	path := filepath.Join(t.TempDir(), "tampered")
	end := len(whole) - len(lines[len(lines)-1]) // the newest checkpoint itself is nothing that was signed
	for i := range whole[:end] {
		for _, bit := range []byte{1} {
			changed := bytes.Clone(whole)
			changed[i] ^= bit
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := verified(t, o, path); len(r.Findings) == 0 {
				t.Fatalf("byte %d, bit %x: nothing found in %q", i, bit, changed[max(0, i-20):min(len(changed), i+20)])
			}
		}
	}
}

func TestWithoutAKeyOrAKeptCheckpointARewrittenEndIsNotFoundAndTheReportSaysHowMuchIsUnsigned(t *testing.T) {
	lines, _ := written(t, filepath.Join(t.TempDir(), "audit.log"), 6)
	cut := bytes.Join(lines[:len(lines)-1], nil) // after a checkpoint and two records
	r := verifiedBytes(t, VerifyOptions{Key: testKey(t)}, cut)
	if len(r.Findings) > 0 || r.Unsigned != 2 {
		t.Fatalf("got %+v, want 2 unsigned lines", r)
	}
}

func TestACheckpointOfAnotherKeyIsNone(t *testing.T) {
	lines, _ := written(t, filepath.Join(t.TempDir(), "audit.log"), 6)
	key, err := VerifierKey(testOrigin, bytes.Repeat([]byte{8}, ed25519.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	r := verifiedBytes(t, VerifyOptions{Key: key}, bytes.Join(lines, nil))
	if len(r.Findings) == 0 || r.Findings[0].Kind != Rewritten {
		t.Fatalf("got %+v", r.Findings)
	}
}

func TestFilesAreVerifiedInTheirOrderAndAMissingOneIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := testConfig(path)
	c.RotateSize = 900
	l := mustOpen(t, c)
	for i := range 20 {
		mustWrite(t, l, record(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	full, err := segments(path)
	if err != nil || len(full) < 3 {
		t.Fatalf("%d full files, %v", len(full), err)
	}
	o := VerifyOptions{Key: testKey(t)}
	all := append([]string{path}, full...) // as a shell lists them
	if r := verified(t, o, all...); len(r.Findings)+len(r.Notes) > 0 || r.Last.File != path {
		t.Fatalf("got %+v", r)
	}
	part := VerifyOptions{Key: testKey(t), Part: true}
	if r := verified(t, part, all[2:]...); len(r.Findings) > 0 || len(r.Notes) != 1 {
		t.Fatalf("without the newest and the first file: %+v", r)
	}
	r := verified(t, o, slices.Delete(slices.Clone(all), 2, 3)...)
	if len(r.Findings) != 1 || r.Findings[0].Kind != Removed || r.Findings[0].At.File != full[2] || r.Findings[0].At.Line != 1 {
		t.Fatalf("without a file in the middle: %+v", r.Findings)
	}
	if !strings.Contains(r.Findings[0].Text, "are missing") {
		t.Fatal(r.Findings[0].Text)
	}
}
