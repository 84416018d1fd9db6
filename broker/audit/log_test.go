package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a sink that a test breaks.
type faulty struct {
	sink
	mu sync.Mutex
	// room in bytes that is left on the disk; negative: enough.
	room int
	// hold, if set, keeps writes until it is closed.
	hold chan struct{}
}

func (f *faulty) set(room int, hold chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room, f.hold = room, hold
}

func (f *faulty) write(b []byte) (int, error) {
	f.mu.Lock()
	room, hold := f.room, f.hold
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if room < 0 || len(b) <= room {
		f.set(max(room-len(b), min(room, 0)), hold)
		return f.sink.write(b)
	}
	n, err := f.sink.write(b[:room])
	f.set(0, nil)
	return n, errors.Join(err, syscall.ENOSPC)
}

func faultyLog(t *testing.T, path string) (*Log, *faulty) {
	t.Helper()
	f := &faulty{room: -1}
	c := testConfig(path)
	c.faults = func(s sink) sink { f.sink = s; return f }
	return mustOpen(t, c), f
}

func TestAfterACrashAtAnyByteTheRecordSaysSoAndGoesOn(t *testing.T) {
	lines, _ := written(t, filepath.Join(t.TempDir(), "whole"), 6)
	whole := bytes.Join(lines, nil)
	batch := len(whole) - len(lines[len(lines)-1]) - len(lines[len(lines)-2]) - len(lines[len(lines)-3])
	for cut := batch; cut <= len(whole); cut++ {
		path := filepath.Join(t.TempDir(), "audit.log")
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := mustOpen(t, testConfig(path))
		mustWrite(t, l, record(99))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		r := verified(t, VerifyOptions{Key: testKey(t)}, path)
		if len(r.Findings) > 0 {
			t.Fatalf("cut at byte %d: %+v", cut, r.Findings)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		torn := whole[cut-1] != '\n'
		if told := bytes.Contains(raw, []byte(`"audit":"recovered"`)); told != torn || !bytes.HasPrefix(raw, whole[:cut]) {
			t.Fatalf("cut at byte %d: told %v, torn %v", cut, told, torn)
		}
	}
}

func TestAFullDiskRefusesAndTheRecordGoesOnWithoutAWordOfAnybody(t *testing.T) {
	for room := range 480 { // two records, their ends included
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			l, f := faultyLog(t, path)
			mustWrite(t, l, record(0))
			f.set(room, nil)
			refused := 0
			for i := range 5 {
				if err := l.Write(record(1 + i)); err != nil {
					refused++
				}
			}
			if refused == 0 || l.Health() == nil {
				t.Fatalf("room for %d bytes: %d refused, health %v", room, refused, l.Health())
			}
			f.set(room%5, nil) // and torn again, within what tells of it
			if l.Write(record(9)) == nil {
				t.Fatalf("room for %d bytes: a record found room", room)
			}
			f.set(-1, nil)
			<-time.After(retryEvery)
			synctest.Wait()
			if err := l.Health(); err != nil {
				t.Fatalf("room for %d bytes: still %v", room, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if r := verified(t, VerifyOptions{Key: testKey(t)}, path); len(r.Findings) > 0 {
				t.Fatalf("room for %d bytes: %+v", room, r.Findings)
			}
		})
	}
}

func TestASinkThatDoesNotAnswerRefusesInTimeAndRecoversByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		l, f := faultyLog(t, path)
		mustWrite(t, l, record(0))
		hold := make(chan struct{})
		f.set(-1, hold)
		began := time.Now()
		if err := l.Write(record(1)); !errors.Is(err, errLag) || time.Since(began) != DefaultPatience {
			t.Fatalf("%v after %v, want a refusal after %v", err, time.Since(began), DefaultPatience)
		}
		if err := l.Write(record(2)); !errors.Is(err, errLag) || time.Since(began) != DefaultPatience || l.Health() == nil {
			t.Fatalf("%v after %v while it lasts", err, time.Since(began))
		}
		f.set(-1, nil)
		close(hold)
		synctest.Wait()
		mustWrite(t, l, record(3))
		if err := errors.Join(l.Health(), l.Close()); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), `"audit":"recovered","refused_from":3,"refused_to":3`) || strings.Contains(string(raw), `"r2"`) {
			t.Fatalf("the late record is not told of, or a refused one was written: %s", raw)
		}
		if r := verified(t, VerifyOptions{Key: testKey(t)}, path); len(r.Findings) > 0 {
			t.Fatalf("%+v", r.Findings)
		}
	})
}

func TestManyCallersShareWritesAndOneChainOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for _, level := range []Level{Written, Durable} {
		c := testConfig(path)
		c.Level = level
		l := mustOpen(t, c)
		var wg sync.WaitGroup
		for n := range 64 {
			wg.Go(func() {
				for i := range 20 {
					if err := l.Write(record(n*100 + i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Records != 64*20 || s.Batches >= s.Records {
			t.Errorf("%s: %d records in %d writes", level, s.Records, s.Batches)
		}
	}
	if r := verified(t, VerifyOptions{Key: testKey(t)}, path); len(r.Findings)+len(r.Notes) > 0 || r.Lines < 2*64*20 {
		t.Fatalf("got %+v", r)
	}
}

func TestAFileOfAnEarlierHoldfastIsGoneOnWithAndTheReportSaysFromWhere(t *testing.T) {
	for _, end := range []string{"\n", ""} { // whole, and torn by a crash
		path := filepath.Join(t.TempDir(), "audit.log")
		old := `{"time":"2026-01-01T00:00:00.000000Z","caller":"svc","outcome":"ok"}` + "\n" + `{"time":"2026-01-01T00:00:01.000000Z","outcome":"ok"}` + end
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		l := mustOpen(t, testConfig(path))
		mustWrite(t, l, record(1))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		r := verified(t, VerifyOptions{Key: testKey(t)}, path)
		if len(r.Findings) > 0 || r.First.Line != 3 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "the chain begins at "+path+":3") {
			t.Fatalf("got %+v", r)
		}
	}
}

func TestTwoProcessesCanNotWriteOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	mustOpen(t, testConfig(path))
	if _, err := Open(testConfig(path)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("got %v", err)
	}
}

func TestAFloodOfRefusalsIsOneCountedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		c := testConfig(path)
		c.Now = time.Now
		l := mustOpen(t, c)
		refuse := func(caller, grant string) {
			mustWrite(t, l, &Record{Time: time.Now(), Caller: caller, Method: "M", Grant: grant, Outcome: "CALLER_NOT_ALLOWED", Refusal: true})
		}
		for range 1000 {
			refuse("a", "acme/a/jira")
		}
		for n := range 50 {
			refuse("b", fmt.Sprintf("acme/%d/jira", n))
		}
		if got := len(lines(t, path)); got != 1+floodGrants+1 {
			t.Fatalf("%d records at once, want the first of each and of the rest", got)
		}
		<-time.After(DefaultFloodWindow)
		synctest.Wait()
		counts := map[string]float64{}
		for _, m := range lines(t, path) {
			if n, ok := m["count"].(float64); ok {
				counts[fmt.Sprint(m["caller"], " ", m["grant"])] += n
			}
		}
		if counts["a acme/a/jira"] != 999 || counts["b <nil>"] != 50-floodGrants-1 || len(counts) != 2 {
			t.Fatalf("counted %v", counts)
		}
		refuse("a", "acme/a/jira")
		refuse("a", "acme/a/jira")
		before := len(lines(t, path))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		after := lines(t, path)
		if len(after) != before+1 || after[before]["count"] != 1.0 {
			t.Fatalf("the end wrote %v", after[before:])
		}
	})
}

func TestCheckpointsAreExportedAndACopyThatFailsHoldsUpNothing(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(filepath.Join(dir, "audit.log"))
	c.CheckpointFile = filepath.Join(dir, "checkpoint")
	var copied bytes.Buffer
	c.Stdout = &copied
	l := mustOpen(t, c)
	for i := range 9 {
		mustWrite(t, l, record(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.CheckpointFile)
	if err != nil || string(text) != l.Checkpoint() {
		t.Fatalf("%q, %v: want the newest checkpoint", text, err)
	}
	kept, err := ParseCheckpoint(text, testKey(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(c.File)
	if err != nil || !bytes.Equal(raw, copied.Bytes()) {
		t.Fatalf("the copy differs from the record, %v", err)
	}
	if r := verifiedBytes(t, VerifyOptions{Kept: []Checkpoint{kept}}, raw[:len(raw)/2]); r.Findings[len(r.Findings)-1].Kind != Truncated {
		t.Fatalf("got %+v", r.Findings)
	}
}

func TestSearchFindsHandOutsOverFilesNewestFirst(t *testing.T) {
	c := testConfig(filepath.Join(t.TempDir(), "audit.log"))
	c.RotateSize = 2000
	l := mustOpen(t, c)
	for i := range 40 {
		r := record(i)
		r.Fingerprint, r.AliveUntil = fmt.Sprintf("hf1:%02d", i%2), r.Time.Add(time.Hour)
		mustWrite(t, l, r)
	}
	found, err := l.Search(t.Context(), Query{Fingerprint: "hf1:01", Limit: 100})
	if err != nil || len(found.HandOuts) != 20 || found.More || !found.From.Equal(record(0).Time) {
		t.Fatalf("%d found from %v, more %v, %v", len(found.HandOuts), found.From, found.More, err)
	}
	if first := found.HandOuts[0]; first.Generation != 40 || first.RequestID != "r39" || !first.AliveUntil.Equal(first.Time.Add(time.Hour)) {
		t.Fatalf("the newest is %+v", first)
	}
	if found, err = l.Search(t.Context(), Query{GrantID: "grt_1", Limit: 3}); err != nil || len(found.HandOuts) != 3 || !found.More {
		t.Fatalf("got %+v, %v", found, err)
	}
	if found, err = l.Search(t.Context(), Query{GrantID: "grt_1", Limit: 100, Since: record(30).Time}); err != nil || len(found.HandOuts) != 10 {
		t.Fatalf("since: %d, %v", len(found.HandOuts), err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, level := range []Level{Written, Durable} {
		b.Run(string(level), func(b *testing.B) {
			l, err := Open(Config{File: filepath.Join(b.TempDir(), "audit.log"), Level: level})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			r := record(1)
			b.SetParallelism(32)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Write(r); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(l.Stats().Records)/float64(l.Stats().Batches), "records/write")
		})
	}
}
