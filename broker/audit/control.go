package audit

import (
	"bytes"
	"encoding/json"
	"time"
)

// The log's own lines, by the field "audit".
const (
	lineBegun      = "begun"
	lineOpened     = "opened"
	lineFile       = "file"
	lineRecovered  = "recovered"
	lineCheckpoint = "checkpoint"
)

// line is what is read of a line by those who verify and search.
type line struct {
	Time        time.Time `json:"time"`
	RequestID   string    `json:"request_id"`
	Caller      string    `json:"caller"`
	CallerKind  string    `json:"caller_kind"`
	Action      string    `json:"action"`
	Rule        string    `json:"rule"`
	Grant       string    `json:"grant"`
	GrantID     string    `json:"grant_id"`
	Generation  uint64    `json:"generation"`
	Purpose     string    `json:"purpose"`
	Fingerprint string    `json:"fingerprint"`
	AliveUntil  time.Time `json:"alive_until"`
	Outcome     string    `json:"outcome"`

	Audit          string `json:"audit"`
	UnchainedBytes int64  `json:"unchained_bytes"`
	Prev           string `json:"prev"`
	Removed        string `json:"removed"`
	TornBytes      int64  `json:"torn_bytes"`
	TornSum        string `json:"torn_sha256"`
	RefusedFrom    uint64 `json:"refused_from"`
	RefusedTo      uint64 `json:"refused_to"`
	Note           string `json:"note"`
}

// isRecord reports whether text is a line of an earlier Holdfast, or of this one.
func isRecord(text []byte) bool {
	return bytes.HasPrefix(text, []byte(`{"time":"`)) && json.Valid(text)
}

// isControl finds the log's own lines without parsing all others. A record can
// not look like one: its first field after the time is never "audit".
func isControl(text []byte) bool {
	i := bytes.Index(text, []byte(`Z","`))
	return i >= 0 && bytes.HasPrefix(text[i+len(`Z",`):], []byte(`"audit":"`))
}

func appendControl(b []byte, now time.Time, kind string) []byte {
	return appendField(appendTime(b, now), "audit", kind)
}
