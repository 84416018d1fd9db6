package audit

import (
	"os"
	"path/filepath"
	"testing"
)

func FuzzCheckpoint(f *testing.F) {
	f.Add("holdfast/x\n12\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n2026-03-01T12:00:00Z\n")
	f.Add("a\n\n\n\n")
	f.Add("\n— x AAAA\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = parseCheckpointText(text)
		_, _ = ParseCheckpoint([]byte(text), "")
		_, _ = ParseCheckpoint([]byte(text), text)
	})
}

// FuzzVerify: a file of whatever content is read to its end, and found wanting
// or empty.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("{}\n{\"seq\":1}\n"))
	f.Add([]byte("{\"seq\":18446744073709551615,\"prev\":\"\",\"hash\":\"\"}\nx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(t.Context(), []string{name}, VerifyOptions{}); err != nil {
			_ = err.Error() // refused, which is an answer
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"seq":1,"prev":"x","hash":"y"}`))
	f.Fuzz(func(_ *testing.T, line []byte) {
		if l, ok := parseLink(line); ok {
			_, _ = l.follows(digest{}, nil)
		}
	})
}
