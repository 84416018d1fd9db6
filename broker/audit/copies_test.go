package audit

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// refusing takes nothing.
type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestStandardOutputThatTakesNothingHoldsUpNothingAndIsSaid(t *testing.T) {
	for _, row := range []struct {
		name string
		to   func(t *testing.T) io.Writer
	}{
		{"nobody reads it", func(t *testing.T) io.Writer {
			r, w := io.Pipe()
			t.Cleanup(func() { _ = r.Close() })
			return w
		}},
		{"it is closed", func(*testing.T) io.Writer { return refusing{} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := testConfig(filepath.Join(t.TempDir(), "audit.log"))
				c.Stdout = row.to(t)
				l, began := mustOpen(t, c), time.Now()
				for i := range 1000 {
					mustWrite(t, l, record(i))
				}
				if took := time.Since(began); took > 0 || l.Health() != nil {
					t.Errorf("1000 records took %v; health %v", took, l.Health())
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > copyEnd+copyLeave {
					t.Errorf("the end took %v", took)
				}
				r := verified(t, VerifyOptions{Key: testKey(t)}, c.File)
				if lost := l.Stats().Lost["stdout"]; len(r.Findings) > 0 || lost != r.Lines {
					t.Errorf("%d lines of %d counted as lost; %v", lost, r.Lines, r.Findings)
				}
				if said := strings.Join(l.Complaints(), "\n"); !strings.Contains(said, "did not reach the copy stdout") {
					t.Errorf("said %q", said)
				}
			})
		})
	}
}

func TestStandardOutputAsTheOnlySinkFailsClosed(t *testing.T) {
	c := testConfig("")
	c.Stdout = refusing{}
	l := mustOpen(t, c)
	if err := l.Write(record(1)); err == nil || l.Health() == nil {
		t.Errorf("%v; health %v", err, l.Health())
	}
}
