package reload

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSecretsFollowTheirFilesAndOutliveABadOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	var logged bytes.Buffer
	v, err := Secrets(slog.New(slog.NewTextHandler(&logged, nil)), file)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	v.now, v.looked = func() time.Time { return now }, now

	steps := []struct {
		name, content string
		pass          time.Duration
		want          string
	}{
		{"not looked at again at once", "two", Interval - 1, "one"},
		{"a change is seen", "two", 1, "two"},
		{"a file without a secret changes nothing", " \n", Interval, "two"},
		{"nor does it a second time", " \n", Interval, "two"},
		{"the next good one is seen", "three", Interval, "three"},
		{"the wall clock may go back", "four", -time.Hour, "four"},
	}
	for _, s := range steps {
		write(s.content)
		now = now.Add(s.pass)
		if got := v.Get(); len(got) != 1 || got[0].Reveal() != s.want {
			t.Fatalf("%s: got another secret", s.name)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	now = now.Add(Interval)
	if v.Get()[0].Reveal() != "four" {
		t.Fatal("a file that is gone took the secret away")
	}
	if n := strings.Count(logged.String(), "is empty"); n != 1 {
		t.Errorf("the empty file was logged %d times, want once:\n%s", n, &logged)
	}
	for _, s := range []string{"one", "two", "three", "four"} {
		if strings.Contains(logged.String(), "="+s) {
			t.Errorf("the log holds a secret:\n%s", &logged)
		}
	}
}

func TestNewNamesTheFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pem")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	_, pool := Pool(log, bad)
	_, pair := KeyPair(log, bad, bad)
	_, none := Secrets(log, filepath.Join(dir, "none"))
	for name, err := range map[string]error{"bad.pem": pool, "bad.pem with key": pair, "none": none} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
