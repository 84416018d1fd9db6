package audit

import (
	"path/filepath"
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
