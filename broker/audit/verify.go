package audit

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Kind of what is wrong with a record.
type Kind string

// What Verify finds.
const (
	// Changed: a line is not what was written.
	Changed Kind = "changed"
	// Removed lines are missing.
	Removed Kind = "removed"
	// Reordered: a line stands in another line's place.
	Reordered Kind = "reordered"
	// Inserted: a line was never written by Holdfast, or is a copy.
	Inserted Kind = "inserted"
	// Truncated: the end is missing.
	Truncated Kind = "truncated"
	// Rewritten: the chain is whole, but it is not the one that was signed.
	Rewritten Kind = "rewritten"
)

// Place in the record.
type Place struct {
	File string
	// Line counts from 1 in its file.
	Line int
	// Seq is the number that the line gives itself; 0: it gives none.
	Seq  uint64
	Time time.Time

	order int // of the file among those given
}

// String names the place as people read it.
func (p Place) String() string {
	s := fmt.Sprintf("%s:%d", p.File, p.Line)
	if p.Seq > 0 {
		s += fmt.Sprintf(" (number %d", p.Seq)
		if !p.Time.IsZero() {
			s += ", " + p.Time.UTC().Format(time.RFC3339)
		}
		s += ")"
	}
	return s
}

// Finding is one thing that is wrong, at a place.
type Finding struct {
	Kind Kind
	At   Place
	Text string
}

// Report of Verify.
type Report struct {
	// Findings in the order of the record; none: it is whole. At most 1000.
	Findings []Finding
	// Notes are what somebody should know though nothing is wrong.
	Notes []string
	// First and Last lines of the chain.
	First, Last Place
	// Lines of the chain.
	Lines uint64
	// Checkpoints in it, and the lines after the newest of them.
	Checkpoints, Unsigned uint64
}

// mostFindings is how many are listed.
const mostFindings = 1000

// VerifyOptions of Verify. The zero value checks the chain alone.
type VerifyOptions struct {
	// Key as VerifierKey gives it; empty: no signature is checked.
	Key string
	// Kept are checkpoints that were kept elsewhere, already parsed.
	Kept []Checkpoint
	// Part: the files are a part of the record, and that older ones are not given
	// is no finding. What is kept of those is not compared.
	Part bool
	// Progress, if set, is told from time to time how many bytes were read.
	Progress func(done int64)
}

// Verify reads the files of one chain and says what is wrong. They are put in
// the order of their numbers. An error means that they could not be read, or
// that ctx ended.
func Verify(ctx context.Context, files []string, o VerifyOptions) (*Report, error) {
	files, err := inOrder(files)
	if err != nil {
		return nil, err
	}
	v := &verifier{o: o, report: &Report{}, kept: map[uint64][]Checkpoint{}}
	for _, c := range o.Kept {
		v.kept[c.Seq] = append(v.kept[c.Seq], c)
	}
	var done int64
	for i, name := range files {
		v.file, v.order, v.lineNo, v.offset = name, i, 0, 0
		if err := v.readFile(ctx, name, &done, i == len(files)-1); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	v.finish()
	return v.report, nil
}

// inOrder sorts files by the first numbered line of each.
func inOrder(files []string) ([]string, error) {
	firsts := make(map[string]uint64, len(files))
	for _, name := range files {
		seq, err := firstSeq(name)
		if err != nil {
			return nil, err
		}
		firsts[name] = seq
	}
	sorted := slices.Clone(files)
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(firsts[a], firsts[b]) })
	return slices.Compact(sorted), nil
}

// firstSeq returns 0 for a file that does not begin with numbered lines.
func firstSeq(name string) (uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read
	r := lineReader{r: bufio.NewReader(f)}
	for range 100 {
		text, err := r.next()
		if l, ok := parseLink(trimNewline(text)); ok {
			return l.seq, nil
		}
		if err != nil {
			break
		}
	}
	return 0, nil
}

// lineReader reads lines with their newlines; what is too long for one comes in pieces.
type lineReader struct {
	r    *bufio.Reader
	long []byte
}

// next returns a line that is valid until the next call, also with io.EOF.
func (r *lineReader) next() ([]byte, error) {
	text, err := r.r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, err
	}
	r.long = append(r.long[:0], text...)
	for errors.Is(err, bufio.ErrBufferFull) && len(r.long) < maxLine {
		text, err = r.r.ReadSlice('\n')
		r.long = append(r.long, text...)
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	return r.long, err
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

// readFile hands each line to the verifier.
func (v *verifier) readFile(ctx context.Context, name string, done *int64, last bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	r := lineReader{r: bufio.NewReaderSize(f, 64<<10)}
	for {
		text, err := r.next()
		if len(text) > 0 {
			v.lineNo++
			v.next(text)
			v.offset += int64(len(text))
			*done += int64(len(text))
		}
		if v.lineNo%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if v.o.Progress != nil {
				v.o.Progress(*done)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if v.o.Progress != nil {
				v.o.Progress(*done)
			}
			if !last {
				v.strangers(v.seq)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

func (v *verifier) place(seq uint64, text []byte) Place {
	p := Place{File: v.file, Line: v.lineNo, Seq: seq, order: v.order}
	var parsed line
	if json.Unmarshal(trimNewline(text), &parsed) == nil {
		p.Time = parsed.Time
	}
	return p
}

func (v *verifier) find(kind Kind, at Place, format string, args ...any) {
	if len(v.report.Findings) < mostFindings {
		v.report.Findings = append(v.report.Findings, Finding{kind, at, fmt.Sprintf(format, args...)})
	}
}

func (v *verifier) note(format string, args ...any) {
	if len(v.report.Notes) < mostFindings {
		v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
	}
}
