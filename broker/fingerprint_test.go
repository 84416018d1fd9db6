package broker_test

import (
	"regexp"
	"testing"
	"time"
)

func TestEachHandOutIsRecordedWithAKeyedFingerprintOfItsTokenAndItsEnd(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	first := w.token(jira)
	w.token(jira)
	w.clock.Advance(2 * time.Hour)
	w.token(jira)
	lines := w.auditLines()
	lines = lines[len(lines)-3:]
	shape := regexp.MustCompile(`^hf1:[0-9a-f]{32}$`)
	for i, line := range lines {
		if text, _ := line["fingerprint"].(string); !shape.MatchString(text) {
			t.Fatalf("hand-out %d has the fingerprint %q", i, text)
		}
	}
	if lines[0]["fingerprint"] != lines[1]["fingerprint"] || lines[1]["fingerprint"] == lines[2]["fingerprint"] {
		t.Fatalf("one token twice, then another one: %v, %v, %v", lines[0]["fingerprint"], lines[1]["fingerprint"], lines[2]["fingerprint"])
	}
	if want := first.ExpiresAt.UTC().Format(time.RFC3339); lines[0]["alive_until"] != want {
		t.Fatalf("alive until %v, want the token's expiry %s", lines[0]["alive_until"], want)
	}
	// Compared by key: the simulator gives another world other tokens.
	if string(w.store.FingerprintKey()) == string(newWorld(t).store.FingerprintKey()) {
		t.Fatal("two stores share a fingerprint key")
	}
}
