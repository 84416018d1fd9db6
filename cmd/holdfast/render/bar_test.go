package render

import (
	"strings"
	"testing"
)

func TestABarIsOneLineOnATerminalAndALineATenthElsewhere(t *testing.T) {
	var tty, file strings.Builder
	for _, w := range []struct {
		to       *strings.Builder
		terminal bool
	}{{&tty, true}, {&file, false}} {
		b := NewBar(w.to, w.terminal)
		b.Show(0, 0)
		for n := range uint64(101) {
			b.Show(n, 100)
			b.Show(n, 100)
		}
		b.End()
	}
	if lines := strings.Split(strings.TrimSpace(file.String()), "\n"); len(lines) != 11 || lines[10] != "100%  100 of 100 records" {
		t.Errorf("in a file: %q", lines)
	}
	drawn := strings.Split(tty.String(), "\r")
	if n := strings.Count(tty.String(), "\n"); n != 1 {
		t.Errorf("on a terminal: %d lines", n)
	}
	if last := drawn[len(drawn)-1]; last != "["+strings.Repeat("=", barWidth)+"] 100%  100 of 100 records\n" {
		t.Errorf("the last drawing is %q", last)
	}
}
