package render

import (
	"fmt"
	"io"
	"strings"
)

// Bar shows how far something long has come: on a terminal one line that is
// drawn again and again, elsewhere a line for each tenth.
type Bar struct {
	w        io.Writer
	terminal bool
	said     int // tenths, of a bar that is no terminal's
	last     string
}

// NewBar returns a bar that writes to w.
func NewBar(w io.Writer, terminal bool) *Bar { return &Bar{w: w, terminal: terminal, said: -1} }

const barWidth = 30

// Show draws done of total; 0 of 0 is a beginning. What can not be written is lost.
func (b *Bar) Show(done, total uint64) {
	part := 0.0
	if total > 0 {
		part = float64(min(done, total)) / float64(total)
	}
	if !b.terminal {
		if tenth := int(part * 10); tenth > b.said {
			b.said = tenth
			_, _ = fmt.Fprintf(b.w, "%3.0f%%  %d of %d records\n", part*100, done, total)
		}
		return
	}
	full := int(part * barWidth)
	line := fmt.Sprintf("[%s%s] %3.0f%%  %d of %d records", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), part*100, done, total)
	if line == b.last {
		return
	}
	// The rest of a longer line before it is wiped.
	_, _ = fmt.Fprintf(b.w, "\r%-*s", len(b.last), line)
	b.last = line
}

// End leaves the line.
func (b *Bar) End() {
	if b.terminal && b.last != "" {
		_, _ = fmt.Fprintln(b.w)
	}
}
