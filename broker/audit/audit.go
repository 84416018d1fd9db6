// Package audit owns the record of every hand-out, refusal and admin act: one
// JSON object a line in an append-only file. It decides nothing (package
// policy does) and never sees a token.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Record says who did what to which grant, and how it ended.
type Record struct {
	Time      time.Time
	RequestID string
	Caller    string
	// CallerKind is how the caller proved who it is: "x509", "spiffe", "jwt".
	CallerKind string
	Method     string
	Action     string
	Rule       string
	Grant      string
	GrantID    string
	Generation uint64
	Purpose    string
	// Fingerprint of the access token that was handed out, and AliveUntil its
	// expiry; empty if none was.
	Fingerprint string
	AliveUntil  time.Time
	// Outcome is "ok" or the reason of the refusal.
	Outcome string
	// Detail of an admin act, e.g. an operator's reason.
	Detail string
}

// Log appends records to a file. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex // guards all below
	f   *os.File
	buf []byte
	// torn is set after a partial write: the next line starts on a new one.
	torn bool
	// failed is why the newest write failed; nil: it did not.
	failed error
}

// Open opens or creates the file at path, readable by its owner only, for appending.
func Open(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	return &Log{f: f}, nil
}

// Write appends one line with a single write(2) and returns when that did: the
// line survives a crash of the process, not of the machine. After an error the
// caller must refuse the call that the record is about.
func (l *Log) Write(r *Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return errors.New("writing audit record: the audit log is closed")
	}
	l.buf = l.buf[:0]
	if l.torn {
		l.buf = append(l.buf, '\n')
	}
	l.buf = r.appendJSON(l.buf)
	n, err := l.f.Write(l.buf)
	if err != nil {
		l.torn = l.torn || n > 0
		l.failed = err
		return fmt.Errorf("writing audit record: %w", err)
	}
	l.torn, l.failed = false, nil
	return nil
}

// Health says why the newest record could not be written; nil: it was.
func (l *Log) Health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Close syncs and closes the file. Later writes fail.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := errors.Join(l.f.Sync(), l.f.Close())
	l.f = nil
	return err
}

// appendJSON encodes by hand: the line is on the path of every hot call, where
// encoding/json costs more than the write itself.
func (r *Record) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	b = appendField(b, "request_id", r.RequestID)
	b = appendField(b, "caller", r.Caller)
	b = appendField(b, "caller_kind", r.CallerKind)
	b = appendField(b, "method", r.Method)
	b = appendField(b, "action", r.Action)
	b = appendField(b, "rule", r.Rule)
	b = appendField(b, "grant", r.Grant)
	b = appendField(b, "grant_id", r.GrantID)
	if r.Generation != 0 {
		b = append(b, `,"generation":`...)
		b = strconv.AppendUint(b, r.Generation, 10)
	}
	b = appendField(b, "purpose", r.Purpose)
	b = appendField(b, "fingerprint", r.Fingerprint)
	if !r.AliveUntil.IsZero() {
		b = append(b, `,"alive_until":"`...)
		b = r.AliveUntil.UTC().AppendFormat(b, time.RFC3339)
		b = append(b, '"')
	}
	b = appendField(b, "outcome", r.Outcome)
	b = appendField(b, "detail", r.Detail)
	return append(b, '}', '\n')
}

// appendField leaves empty fields out. Texts that need escaping go through encoding/json.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	if plain(value) {
		b = append(b, '"')
		b = append(b, value...)
		return append(b, '"')
	}
	quoted, err := json.Marshal(value)
	if err != nil { // cannot happen for a string; an empty value is still valid JSON
		return append(b, '"', '"')
	}
	return append(b, quoted...)
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
