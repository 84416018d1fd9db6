package broker

import (
	"log/slog"
	"time"
)

// setbackEvery is how often the log is told that something still fails.
const setbackEvery = 10 * time.Minute

// setback is a time in which something that is tried again and again fails. The log
// has its first failure, a line every setbackEvery with their number, and its end.
// It belongs to one goroutine.
type setback struct {
	// what fails, as a gerund.
	what        string
	since, told time.Time
	failures    int
}

// note takes the outcome of one try; err is nil if it succeeded.
func (t *setback) note(log *slog.Logger, err error) {
	now := time.Now()
	switch {
	case err == nil && t.failures > 0:
		log.Info(t.what+" works again", "after", now.Sub(t.since).Round(time.Millisecond), "failures", t.failures)
		*t = setback{what: t.what}
	case err == nil:
	case t.failures == 0:
		t.since, t.told, t.failures = now, now, 1
		log.Warn(t.what+" failed; it is tried again", "error", err)
	default:
		t.failures++
		if now.Sub(t.told) >= setbackEvery {
			t.told = now
			log.Warn(t.what+" still fails; it is tried again", "for", now.Sub(t.since).Round(time.Second), "failures", t.failures, "error", err)
		}
	}
}
