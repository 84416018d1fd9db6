package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// ErrNoFile is returned by Search if the record goes to no file that can be read back.
var ErrNoFile = errors.New("the audit record goes to no file that could be searched")

// Query says which hand-outs to look for: of a token or of a grant.
type Query struct {
	// Fingerprint of the token; empty: GrantID counts.
	Fingerprint string
	GrantID     string
	// Since: only after this; zero: as far back as the files go.
	Since time.Time
	// Limit of hand-outs, at least 1.
	Limit int
}

// Found are the hand-outs, newest first.
type Found struct {
	HandOuts []Record
	// More: there are more than the limit, or the files are so long that the
	// search ended before their beginning.
	More bool
	// From is the time of the oldest line that was looked at; zero: there is none.
	From time.Time
}

// mostSearched bounds one search, in bytes of files.
const mostSearched = 32 << 30

// outOfOrder is how much older a record may be than one before it: a record has
// the time at which its call came, and a call may wait for a rotation.
const outOfOrder = 10 * time.Minute

// search is one under way.
type search struct {
	q      Query
	needle []byte
	// since, and since when to stop, as lines show times; empty: none.
	since, stop string
	found       *Found
	oldest      []byte
	read        int64
	ended       bool
}

// Search looks for hand-outs in the record's own files, newest first. It reads as
// the disk allows, without holding up records, until ctx ends; then it returns
// the context's error. It trusts the files: Verify does not.
func (l *Log) Search(ctx context.Context, q Query) (*Found, error) {
	if l.writer.file == nil || !l.writer.file.regular {
		return nil, ErrNoFile
	}
	select {
	case l.searching <- struct{}{}: // one at a time: a search is as much as a disk should do beside its work
		defer func() { <-l.searching }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s := &search{q: q, found: &Found{}}
	if s.needle = appendField(nil, "grant_id", q.GrantID); q.Fingerprint != "" {
		s.needle = appendField(nil, "fingerprint", q.Fingerprint)
	}
	if len(s.needle) == 0 {
		return nil, errors.New("searching the audit record: neither a fingerprint nor a grant is given")
	}
	if !q.Since.IsZero() {
		s.since, s.stop = q.Since.UTC().Format(timeLayout), q.Since.Add(-outOfOrder).UTC().Format(timeLayout)
	}
	if err := s.files(ctx, l.cfg.File); err != nil {
		return nil, err
	}
	if t, err := time.Parse(timeLayout, string(s.oldest)); err == nil {
		s.found.From = t
	}
	return s.found, nil
}

// files reads the newest file, then the full ones.
func (s *search) files(ctx context.Context, path string) error {
	newest, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("searching the audit record: %w", err)
	}
	defer func() { _ = newest.Close() }() // only read
	names, err := segments(path)
	if err != nil {
		return err
	}
	info, err := s.file(ctx, newest)
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(names) {
		if s.ended {
			return nil
		}
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			return nil // removed meanwhile, and with it all older ones
		}
		if err != nil {
			return fmt.Errorf("searching the audit record: %w", err)
		}
		// The newest was renamed since it was opened, perhaps.
		if i, serr := f.Stat(); serr != nil || !os.SameFile(i, info) {
			_, err = s.file(ctx, f)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) file(ctx context.Context, f *os.File) (os.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("searching the audit record: %w", err)
	}
	if s.read += info.Size(); s.read > mostSearched {
		s.found.More, s.ended = true, true
		return info, nil
	}
	return info, backwards(ctx, f, info.Size(), s.line)
}

// line looks at one line; false ends the search.
func (s *search) line(text []byte, _ int64, _ bool) bool {
	if t := timeOf(text); t != nil {
		if string(t) < s.stop {
			s.ended = true
			return false
		}
		if string(t) < s.since {
			return true
		}
		s.oldest = append(s.oldest[:0], t...)
	}
	if !bytes.Contains(text, s.needle) {
		return true
	}
	var l line
	if json.Unmarshal(text, &l) != nil || l.Outcome != "ok" || l.Fingerprint == "" || l.Audit != "" ||
		s.q.Fingerprint != "" && l.Fingerprint != s.q.Fingerprint || s.q.Fingerprint == "" && l.GrantID != s.q.GrantID {
		return true
	}
	if len(s.found.HandOuts) == s.q.Limit {
		s.found.More, s.ended = true, true
		return false
	}
	s.found.HandOuts = append(s.found.HandOuts, Record{
		Time: l.Time, RequestID: l.RequestID, Caller: l.Caller, CallerKind: l.CallerKind, Action: l.Action, Rule: l.Rule,
		Grant: l.Grant, GrantID: l.GrantID, Generation: l.Generation, Purpose: l.Purpose,
		Fingerprint: l.Fingerprint, AliveUntil: l.AliveUntil, Outcome: l.Outcome,
	})
	return true
}

// timeOf finds a line's time without parsing the line; nil: it has none there.
func timeOf(text []byte) []byte {
	const before = `"time":"`
	head := text[:min(len(text), 64)]
	i := bytes.Index(head, []byte(before))
	if i < 0 || len(text) < i+len(before)+len(timeLayout) {
		return nil
	}
	return text[i+len(before) : i+len(before)+len(timeLayout)]
}
