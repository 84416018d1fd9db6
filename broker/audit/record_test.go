package audit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The format is that of the standard library, whatever the time.
func TestTimesAreWrittenInTheirLayout(t *testing.T) {
	for _, text := range []string{"0001-01-01T00:00:00Z", "2026-11-23T14:03:09.000001Z", "9999-12-31T23:59:59.999999999Z"} {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(appendMicros(nil, at)), at.Format(timeLayout); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-1e11, 4e11).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nano")).UTC()
		if got, want := string(appendMicros(nil, at)), at.Format(timeLayout); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func BenchmarkTime(b *testing.B) {
	at, out := time.Now().UTC(), make([]byte, 0, 64)
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			out = appendMicros(out[:0], at)
		}
	})
	b.Run("layout", func(b *testing.B) {
		for b.Loop() {
			out = at.AppendFormat(out[:0], timeLayout)
		}
	})
}
