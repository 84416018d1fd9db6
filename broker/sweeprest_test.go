package broker

import (
	"testing"
	"time"
)

func TestASweepThatWasStoppedDoesNotRestForTheLeeway(t *testing.T) {
	for _, row := range []struct{ every, took, want time.Duration }{
		{2 * time.Second, 0, 2 * time.Second},
		{2 * time.Second, 5 * time.Second, 15 * time.Second},
		{2 * time.Second, 3 * time.Minute, 30 * time.Second},
		{time.Minute, 3 * time.Minute, time.Minute},
	} {
		if got := sweepRest(row.every, row.took); got != row.want {
			t.Errorf("every %s, after a round of %s: %s, want %s", row.every, row.took, got, row.want)
		}
	}
}
