package audit

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func lines(t *testing.T, path string) []map[string]any {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	for _, line := range bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n")) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if m["audit"] == nil { // the log's own lines are for the tests of the chain
			out = append(out, m)
		}
	}
	return out
}

func TestEveryRecordIsOneLineOfJSONWhateverItHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(Config{File: path})
	if err != nil {
		t.Fatal(err)
	}
	hostile := "a\"b\\c\nd\x00\xffé</script>" + strings.Repeat("x", 5000)
	want := &Record{Time: time.Unix(1, 5000), RequestID: "r", Caller: hostile, Method: "M", Action: "draw", Rule: "ru",
		Grant: "g", GrantID: "grt", Generation: 1<<64 - 1, Purpose: "p", Outcome: "ok", Detail: hostile}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := l.Write(want); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := lines(t, path)
	if len(got) != 50 {
		t.Fatalf("%d lines, want 50", len(got))
	}
	valid := strings.ToValidUTF8(hostile, "\uFFFD")
	if got[7]["caller"] != valid || got[7]["detail"] != valid || got[7]["outcome"] != "ok" || got[7]["time"] != "1970-01-01T00:00:01.000005Z" {
		t.Fatalf("unexpected record %v", got[7])
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v: want 0600", info.Mode(), err)
	}
}

func TestAClosedOrFullLogRefuses(t *testing.T) {
	l, err := Open(Config{File: filepath.Join(t.TempDir(), "a")})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(&Record{}); err == nil {
		t.Fatal("a closed log took a record")
	}
	full, err := Open(Config{File: "/dev/full", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := full.Write(&Record{Outcome: "ok"}); err == nil {
		t.Fatal("a full disk took a record")
	}
}

func TestWriteDoesNotAllocateOnTheHotPath(t *testing.T) {
	l, err := Open(Config{File: filepath.Join(t.TempDir(), "a")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &Record{Time: time.Now(), RequestID: "abc", Caller: "svc", Method: "GetAccessToken", Action: "draw", Rule: "callers[svc]", Grant: "acme/a/jira", Outcome: "ok"}
	if n := testing.AllocsPerRun(100, func() { _ = l.Write(r) }); n > mostAllocs {
		t.Fatalf("%v allocations", n)
	}
}
