package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A write that fails leaves more unsigned than the records of the batch that
// succeeds it: the next checkpoint is still no further than its time away.
func TestCheckpointsComeInTimeAfterAFailedWrite(t *testing.T) {
	for _, row := range []struct {
		name string
		// records before the failed write, since the newest checkpoint, and after it.
		before, after int
	}{
		{"right after a checkpoint, and records follow", 0, 3},
		{"right after a checkpoint, and nothing follows", 0, 0},
		{"among unsigned records", 2, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path, f := filepath.Join(t.TempDir(), "audit.log"), &faulty{room: -1}
				c := testConfig(path)
				c.CheckpointEvery, c.CheckpointRecords = time.Minute, 10_000
				c.faults = func(s sink) sink { f.sink = s; return f }
				l := mustOpen(t, c)
				mustWrite(t, l, record(0))
				<-time.After(c.CheckpointEvery)
				synctest.Wait()
				first := l.Checkpoint()
				if first == "" {
					t.Fatal("no checkpoint in time")
				}
				for i := range row.before {
					mustWrite(t, l, record(1+i))
				}
				f.set(0, nil)
				if l.Write(record(10)) == nil {
					t.Fatal("the record found room")
				}
				f.set(-1, nil)
				for i := range row.after {
					mustWrite(t, l, record(11+i))
				}
				<-time.After(retryEvery + c.CheckpointEvery)
				synctest.Wait()
				second := l.Checkpoint()
				if second == first {
					t.Fatalf("no checkpoint within %v of the failed write", retryEvery+c.CheckpointEvery)
				}
				mustWrite(t, l, record(20)) // and they go on
				<-time.After(c.CheckpointEvery)
				synctest.Wait()
				if l.Checkpoint() == second {
					t.Fatal("the one after it is missing")
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if r := verified(t, VerifyOptions{Key: testKey(t)}, path); len(r.Findings) > 0 || r.Checkpoints != 3 || r.Unsigned > 0 {
					t.Fatalf("got %+v", r)
				}
			})
		})
	}
}

// A disk may hang in a rotation, which renames and syncs, as well as in a write.
func TestADiskThatHangsInARotationRefusesInTimeAndRecoversByItself(t *testing.T) {
	for _, row := range []struct {
		name string
		// fails: the rotation does not come about once the disk answers.
		fails bool
		// idle: no record waits when it begins.
		idle bool
	}{
		{"and rotates at last", false, false},
		{"and does not rotate at last", true, false},
		{"and rotates at last, with nothing to write", false, true},
		{"and does not rotate at last, with nothing to write", true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkHang(t, row.fails, row.idle) })
		})
	}
}

// checkHang hangs in a rotation for longer than the patience.
func checkHang(t *testing.T, fails, idle bool) {
	t.Helper()
	path, hold := filepath.Join(t.TempDir(), "audit.log"), make(chan struct{})
	c := testConfig(path)
	c.RotateSize, c.rotating = 1200, func() { <-hold }
	l := mustOpen(t, c)
	n := 0
	for ; sizeOf(t, path) < c.RotateSize; n++ {
		mustWrite(t, l, record(n))
	}
	if fails {
		if err := os.WriteFile(segmentName(path, l.writer.chain.seq), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	began, refused := time.Now(), make(chan error)
	if idle {
		l.writer.due(&l.writer.retryDue)
		synctest.Wait() // it is in the rotation
	}
	go func() { refused <- l.Write(record(100)) }()
	synctest.Wait()
	if err := l.Write(record(101)); !errors.Is(err, errLag) || time.Since(began) != DefaultPatience {
		t.Fatalf("%v after %v, want a refusal after %v", err, time.Since(began), DefaultPatience)
	}
	if err := <-refused; !errors.Is(err, errLag) || l.Health() == nil {
		t.Fatalf("%v, health %v while it lasts", err, l.Health())
	}
	close(hold)
	synctest.Wait()
	mustWrite(t, l, record(102))
	if err := errors.Join(l.Health(), l.Close()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unwritten := 1
	if idle {
		unwritten = 2
	}
	if text := string(raw); !strings.Contains(text, fmt.Sprintf(`"refused_unwritten":%d`, unwritten)) || strings.Contains(text, `"r101"`) {
		t.Fatalf("the late record is not told of, or a refused one was written: %s", text)
	}
	if told := strings.Contains(string(raw), `"audit":"recovered","refused_from":`); told == (fails && idle) {
		t.Fatalf("told of late lines: %v: %s", told, raw)
	}
	files := allFiles(t, path)
	if fails {
		files = []string{path} // the empty one is in the way
	} else if len(files) != 2 {
		t.Fatalf("%d files: it did not rotate", len(files))
	}
	if r := verified(t, VerifyOptions{Key: testKey(t)}, files...); len(r.Findings) > 0 {
		t.Fatalf("%+v", r.Findings)
	}
}
