// Package render owns how answers look on standard output: tables for people,
// JSON for programs. It decides nothing and calls nobody.
package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// JSON writes m in the canonical JSON of protobuf, fields without a value
// included, so that a program finds every key. The spacing is stable.
func JSON(w io.Writer, m proto.Message) error {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	var out bytes.Buffer
	// protojson varies its spacing on purpose; a program that compares texts should not suffer.
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	out.WriteByte('\n')
	_, err = w.Write(out.Bytes())
	return err
}

// Table writes rows under a header. An empty table is its header alone.
func Table(w io.Writer, header []string, rows [][]string) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Box.PaddingLeft = ""
	t.Style().Box.PaddingRight = "  "
	t.AppendHeader(cells(header))
	for _, r := range rows {
		t.AppendRow(cells(r))
	}
	return lines(w, t.Render())
}

// Fact is one line of a list of facts.
type Fact struct{ Name, Value string }

// Facts writes one "name  value" a line and leaves out those without a value.
func Facts(w io.Writer, facts []Fact) error {
	width := 0
	for _, f := range facts {
		width = max(width, len(f.Name))
	}
	var b strings.Builder
	for _, f := range facts {
		if f.Value != "" {
			fmt.Fprintf(&b, "%-*s  %s\n", width, f.Name, Clean(f.Value))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Time shows t to people in their own zone; "" if it is unset.
func Time(t *timestamppb.Timestamp) string {
	if !t.IsValid() || t.AsTime().IsZero() {
		return ""
	}
	return t.AsTime().Local().Format("2006-01-02 15:04:05 MST")
}

// Until shows t as a distance from now, e.g. "in 59m" or "3h ago"; "" if it is unset.
func Until(t *timestamppb.Timestamp, now time.Time) string {
	if !t.IsValid() {
		return ""
	}
	d := t.AsTime().Sub(now)
	if d < 0 {
		return distance(-d) + " ago"
	}
	return "in " + distance(d)
}

func distance(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// Clean replaces control characters: a name that somebody chose at the
// provider must not move the cursor of an operator's terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// Enum shows the value of a protobuf enum without its type's prefix, in lower case.
func Enum(value fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(value.String(), prefix))
}

func cells(texts []string) table.Row {
	row := make(table.Row, len(texts))
	for i, t := range texts {
		row[i] = Clean(t)
	}
	return row
}

// lines writes text with the blanks at line ends cut off.
func lines(w io.Writer, text string) error {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
