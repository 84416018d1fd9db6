package audit

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// Record says who did what to which grant, and how it ended.
type Record struct {
	Time      time.Time
	RequestID string
	Caller    string
	// CallerKind is how the caller proved who it is: "x509", "spiffe", "jwt", "proxy".
	CallerKind string
	// Via is the proxy by whose word it is known, if it is.
	Via        string
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
	// Outcome is "ok", "begun", or the reason of the refusal.
	Outcome string
	// Detail of an admin act, e.g. an operator's reason.
	Detail string
	// Refusal marks a refused call that did nothing: one that repeats itself is
	// counted. It is not written itself.
	Refusal bool

	// count of refusals that the record stands for, the first of them at since; 0: it
	// stands for itself.
	count uint64
	since time.Time
}

// timeLayout of a line's time, always UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// appendBody encodes by hand: the line is on the path of every hot call, where
// encoding/json costs more than the write itself. The body lacks the braces,
// the number and the hash, which the writer adds.
func (r *Record) appendBody(b []byte) []byte {
	b = appendTime(b, r.Time)
	b = appendField(b, "request_id", r.RequestID)
	b = appendField(b, "caller", r.Caller)
	b = appendField(b, "caller_kind", r.CallerKind)
	b = appendField(b, "via", r.Via)
	b = appendField(b, "method", r.Method)
	b = appendField(b, "action", r.Action)
	b = appendField(b, "rule", r.Rule)
	b = appendField(b, "grant", r.Grant)
	b = appendField(b, "grant_id", r.GrantID)
	b = appendNumber(b, "generation", r.Generation)
	b = appendField(b, "purpose", r.Purpose)
	b = appendField(b, "fingerprint", r.Fingerprint)
	if !r.AliveUntil.IsZero() {
		b = append(b, `,"alive_until":"`...)
		b = r.AliveUntil.UTC().AppendFormat(b, time.RFC3339)
		b = append(b, '"')
	}
	b = appendField(b, "outcome", r.Outcome)
	if r.count > 0 {
		b = appendNumber(b, "count", r.count)
		b = append(b, `,"since":"`...)
		b = r.since.UTC().AppendFormat(b, timeLayout)
		b = append(b, '"')
	}
	return appendField(b, "detail", r.Detail)
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, `"time":"`...)
	b = appendMicros(b, t.UTC())
	return append(b, '"')
}

// appendMicros is timeLayout's format, at a quarter of AppendFormat's cost, which
// has to read the layout each time. t is UTC.
func appendMicros(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, timeLayout)
	}
	hour, minute, second := t.Clock()
	b = appendDigits(b, year, 4)
	b = appendDigits(append(b, '-'), int(month), 2)
	b = appendDigits(append(b, '-'), day, 2)
	b = appendDigits(append(b, 'T'), hour, 2)
	b = appendDigits(append(b, ':'), minute, 2)
	b = appendDigits(append(b, ':'), second, 2)
	b = appendDigits(append(b, '.'), t.Nanosecond()/1000, 6)
	return append(b, 'Z')
}

// appendDigits writes n with so many digits, 6 at the most; it has no more.
func appendDigits(b []byte, n, digits int) []byte {
	end := len(b) + digits
	b = append(b, "000000"[:digits]...)
	for i := end - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// appendNumber leaves zeros out.
func appendNumber(b []byte, name string, n uint64) []byte {
	if n == 0 {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendUint(b, n, 10)
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
