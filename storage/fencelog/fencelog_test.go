package fencelog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var at = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path string, slots int) *Log {
	t.Helper()
	l, err := Open(path, slots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // some are closed already
	return l
}

func add(t *testing.T, l *Log, notes ...Note) {
	t.Helper()
	for _, n := range notes {
		if err := l.Add(n); err != nil {
			t.Fatal(err)
		}
	}
}

func newest(t *testing.T, l *Log) (map[string]Note, time.Time) {
	t.Helper()
	n, since, err := l.Newest()
	if err != nil {
		t.Fatal(err)
	}
	return n, since
}

// dies leaves the file as the death of the process does.
func dies(t *testing.T, l *Log) {
	t.Helper()
	if err := l.f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNotesSurviveTheDeathOfTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fences")
	l := open(t, path, 8)
	info := Info{Replica: "r1", Store: "str_1", System: "77", Timeline: 3, Beat: at}
	if err := l.SetInfo(info); err != nil {
		t.Fatal(err)
	}
	a, b := Note{"grt_a", 4, 2, at}, Note{"grt_b", 9, 5, at.Add(time.Second)}
	add(t, l, Note{"grt_a", 3, 2, at}, a, b, Note{"grt_b", 7, 4, at}) // of two, the higher version
	size, _ := os.Stat(path)
	dies(t, l)
	l = open(t, path, 99)
	got, since := newest(t, l)
	if d := cmp.Diff(map[string]Note{"grt_a": a, "grt_b": b}, got); d != "" || !since.IsZero() {
		t.Errorf("since %v (-noted +read):\n%s", since, d)
	}
	if d := cmp.Diff(info, l.Info(), cmp.AllowUnexported(Info{})); d != "" {
		t.Errorf("info (-set +read):\n%s", d)
	}
	add(t, l, Note{"grt_a", 5, 3, at})
	if again, _ := os.Stat(path); again.Size() != size.Size() {
		t.Errorf("the file grew from %d to %d bytes", size.Size(), again.Size())
	}
	if got, _ := newest(t, l); got["grt_a"].Version != 5 || got["grt_b"] != b {
		t.Errorf("after going on: %v", got)
	}
}

func TestAFullLogKeepsTheNewestAndSaysSinceWhen(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "fences"), 4)
	for i := range 11 {
		add(t, l, Note{fmt.Sprint("grt_", i), 1, 1, at.Add(time.Duration(i) * time.Minute)})
	}
	got, since := newest(t, l)
	if len(got) != 4 || got["grt_10"].Version != 1 || got["grt_7"].Version != 1 || !since.Equal(at.Add(7*time.Minute)) {
		t.Errorf("since %v: %v", since, got)
	}
}

func TestATornLogIsOneOfAMachineThatDied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fences")
	l := open(t, path, 4)
	if err := l.SetInfo(Info{Replica: "r1"}); err != nil {
		t.Fatal(err)
	}
	dies(t, l)
	l = open(t, path, 4)
	if l.Info().Torn {
		t.Error("torn by the death of its process alone")
	}
	// As if the machine had been started anew since.
	was := l.head
	text := fmt.Sprintf(`{"format":1,"number":%d,"replica":"r1","machine":"another run"}`, was+1)
	putHead(t, l, text, was+1)
	dies(t, l)
	l = open(t, path, 4)
	if !l.Info().Torn {
		t.Error("not torn although the machine died while it was in use")
	}
	// In order: the next run of the machine may trust it.
	putHead(t, l, fmt.Sprintf(`{"format":1,"number":%d,"replica":"r1","machine":"another run","closed":true}`, was+2), was+2)
	dies(t, l)
	if l = open(t, path, 4); l.Info().Torn {
		t.Error("torn although it was closed in order")
	}
}

func putHead(t *testing.T, l *Log, text string, number uint64) {
	t.Helper()
	if _, err := l.f.WriteAt(frame([]byte(text)), int64(number%2)*headSize); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsSkippedAndATornHeadLeavesTheOneBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fences")
	l := open(t, path, 4)
	for _, timeline := range []uint64{1, 2} {
		if err := l.SetInfo(Info{Replica: "r1", Timeline: timeline}); err != nil {
			t.Fatal(err)
		}
	}
	add(t, l, Note{"grt_a", 1, 1, at}, Note{"grt_b", 1, 1, at})
	newer := int64(l.head%2) * headSize
	dies(t, l)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[newer+20] ^= 1
	b[2*headSize+slotSize+40] ^= 1 // note 1 lies in slot 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, path, 4)
	if got, _ := newest(t, l); len(got) != 1 || got["grt_b"].Version != 1 || l.Info().Timeline != 1 {
		t.Errorf("%v, timeline %d", got, l.Info().Timeline)
	}
}

func TestALogThatCanNotBeUsedIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, filepath.Join(dir, "held"), 4)
	newer := open(t, filepath.Join(dir, "newer"), 4)
	putHead(t, newer, `{"format":2,"number":9}`, 9)
	dies(t, newer)
	if err := os.WriteFile(filepath.Join(dir, "short"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"held": "give each replica a store.dir of its own", "newer": "start the newer Holdfast", "short": "is cut off"} {
		if _, err := Open(filepath.Join(dir, name), 4); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	add(t, l, Note{"grt_a", 1, 1, at}) // who holds it goes on
}
