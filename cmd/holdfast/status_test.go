package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Numbers of a minute ago must not pass for those of now.
func TestAStatusSaysHowOldItsNumbersAre(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name    string
		counted *timestamppb.Timestamp
		want    string
	}{
		{"of now", timestamppb.New(now.Add(-100 * time.Millisecond)), ""},
		{"counted while the answer was made", timestamppb.New(now.Add(time.Second)), ""},
		{"never counted, or an older broker", nil, ""},
		{"of a minute ago", timestamppb.New(now.Add(-time.Minute)), ", 1m0s ago: "},
	} {
		got := countedWords(&holdfastv1.GetStatusResponse{ServerTime: timestamppb.New(now), PhasesCountedAt: row.counted})
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
