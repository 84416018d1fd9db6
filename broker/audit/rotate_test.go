package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rotated makes a record of several files and returns their names, oldest first.
func rotated(t *testing.T, path string, records int) []string {
	t.Helper()
	c := testConfig(path)
	c.RotateSize = 1200
	l := mustOpen(t, c)
	for i := range records {
		mustWrite(t, l, record(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return allFiles(t, path)
}

// allFiles of a record, oldest first.
func allFiles(t *testing.T, path string) []string {
	t.Helper()
	names, err := segments(path)
	if err != nil {
		t.Fatal(err)
	}
	return append(names, path)
}

// checkGoesOn opens the record, writes to it, and checks that all its files, and
// its newest alone, are whole.
func checkGoesOn(t *testing.T, what, path string, rotateSize int64) {
	t.Helper()
	c := testConfig(path)
	c.RotateSize = rotateSize
	l := mustOpen(t, c)
	for i := range 8 {
		mustWrite(t, l, record(100+i))
	}
	found, err := l.Search(t.Context(), Query{GrantID: "grt_1", Limit: 1000})
	if err != nil || found.From.IsZero() {
		t.Errorf("%s: searched from %v, %v", what, found.From, err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	files := allFiles(t, path)
	if r := verified(t, VerifyOptions{Key: testKey(t)}, files...); len(r.Findings) > 0 || r.First.Seq != 1 {
		t.Fatalf("%s: from number %d, %+v", what, r.First.Seq, r.Findings)
	}
	for i := range files[1:] {
		if r := verified(t, VerifyOptions{Key: testKey(t), Part: true}, files[i+1:]...); len(r.Findings) > 0 {
			t.Fatalf("%s: from %s on: %+v", what, files[i+1], r.Findings)
		}
	}
}

func TestACrashWithinARotationLeavesARecordThatGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "whole")
	files := rotated(t, path, 5)
	if len(files) != 2 {
		t.Fatalf("%d files, want a full one and a new one", len(files))
	}
	full, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string, content map[string][]byte, sizes ...int64) {
		path := filepath.Join(t.TempDir(), "audit.log")
		for suffix, b := range content {
			if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, size := range append(sizes, 0) {
			checkGoesOn(t, name, path, size)
		}
	}
	renamed := strings.TrimPrefix(files[0], path)
	at("after the new file was made", map[string][]byte{"": full, ".new": nil}, 1200)
	at("between the renames", map[string][]byte{renamed: full, ".new": nil}, 1200)
	at("after both", map[string][]byte{renamed: full, "": nil}, 1200)
	first := bytes.IndexByte(fresh, '\n') + 1
	for cut := 1; cut <= first+20; cut++ {
		at(fmt.Sprintf("%d bytes into the new file", cut), map[string][]byte{renamed: full, "": fresh[:cut]})
	}
	at("in the new file, whose bytes the disk never got", map[string][]byte{renamed: full, "": make([]byte, 100)})
}

func TestAFullDiskAtTheBeginningOfANewFileLeavesARecordThatGoesOn(t *testing.T) {
	for room := 0; room < 300; room += 7 {
		synctest.Test(t, func(t *testing.T) {
			path, f := filepath.Join(t.TempDir(), "audit.log"), &faulty{room: -1}
			c := testConfig(path)
			c.RotateSize, c.faults = 1200, func(s sink) sink { f.sink = s; return f }
			l := mustOpen(t, c)
			for i := 0; sizeOf(t, path) < c.RotateSize; i++ {
				mustWrite(t, l, record(i))
			}
			f.set(room, nil)
			if l.Write(record(50)) == nil {
				t.Fatal("the record found room")
			}
			f.set(-1, nil)
			<-time.After(2 * retryEvery)
			synctest.Wait()
			if err := l.Health(); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if len(allFiles(t, path)) != 2 {
				t.Fatal("it did not rotate")
			}
			checkGoesOn(t, fmt.Sprintf("room for %d bytes", room), path, 0)
		})
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// What is dropped is the oldest, and the record says so.
func TestFullFilesAreKeptAsLongAsConfigured(t *testing.T) {
	for _, row := range []struct {
		name    string
		keep    int
		keepFor time.Duration
		old     int // files that are older than keepFor
		want    int // full files
	}{
		{"all", 0, 0, 3, 7},
		{"three", 3, 0, 0, 3},
		{"an hour", 0, time.Hour, 2, 5},
		{"an hour, and at most three", 3, time.Hour, 5, 2},
		{"an hour, at most three, none old", 3, time.Hour, 0, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			files := rotated(t, path, 28)
			if len(files) != 7 {
				t.Fatalf("%d files", len(files))
			}
			now := testConfig(path).Now()
			for i, name := range files {
				written := now
				if i < row.old {
					written = now.Add(-time.Hour - time.Second)
				}
				if err := os.Chtimes(name, written, written); err != nil {
					t.Fatal(err)
				}
			}
			c := testConfig(path)
			c.RotateSize, c.Keep, c.KeepFor = 1, row.keep, row.keepFor
			synctest.Test(t, func(t *testing.T) {
				l := mustOpen(t, c)
				synctest.Wait()             // its first line is there
				mustWrite(t, l, record(30)) // in a new file
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			})
			left := allFiles(t, path)
			if len(left)-1 != row.want || !slices.Contains(left, files[6-min(1, row.want)]) {
				t.Errorf("%d full files are left of %q, want %d: %q", len(left)-1, files, row.want, left)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if told := bytes.Contains(raw, []byte(`"removed":"audit.log.`)); told != (row.want < 7) {
				t.Errorf("told of what was removed: %v", told)
			}
			if r := verified(t, VerifyOptions{Key: testKey(t)}, left...); len(r.Findings) > 0 {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}

// What a crash keeps from being told is not removed either: a file that is
// missing without a word of it looks like one that somebody took away.
func TestNoFileIsRemovedBeforeTheRecordSaysSo(t *testing.T) {
	for _, room := range []int{0, 100, 1000} { // nothing of the first line, some, all of it
		t.Run(fmt.Sprintf("room for %d bytes", room), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			files := rotated(t, path, 28)
			f := &faulty{room: -1}
			c := testConfig(path)
			c.RotateSize, c.Keep, c.faults = sizeOf(t, path)+1, 2, func(s sink) sink { f.sink = s; return f }
			synctest.Test(t, func(t *testing.T) {
				l := mustOpen(t, c)
				synctest.Wait() // its first line is there, and fills the file
				f.set(room, nil)
				if err := l.Write(record(50)); (err == nil) != (room == 1000) {
					t.Fatalf("written with room for %d bytes: %v", room, err)
				}
				f.set(0, nil) // until the end, which is that of a crash then
				_ = l.Close()
			})
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = os.Stat(files[0])
			if told, there := bytes.Contains(raw, []byte(`"removed":"`)), err == nil; told != (room == 1000) || told == there {
				t.Fatalf("told of the removal: %v; the file is there: %v", told, there)
			}
			left := allFiles(t, path)
			if err := mustOpen(t, testConfig(path)).Close(); err != nil {
				t.Fatal(err)
			}
			r := verified(t, VerifyOptions{Key: testKey(t)}, left...)
			if len(r.Findings) > 0 || (r.First.Seq == 1) != (room < 1000) {
				t.Fatalf("from number %d: %+v", r.First.Seq, r.Findings)
			}
		})
	}
}
