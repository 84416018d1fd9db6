package audit

import (
	"sync/atomic"
	"time"
)

type stats struct {
	records, batches, refused, failures, lags   atomic.Uint64
	recovered, rotationFailures, exportFailures atomic.Uint64
}

// Stats are counts since Open, and how the log fares now.
type Stats struct {
	// Records that were written, in so many Batches.
	Records, Batches uint64
	// Refused records could not be written; their calls were refused.
	Refused uint64
	// Failures of the primary sink, Lags of it longer than the patience.
	Failures, Lags uint64
	// Recovered is 1 if the start found a torn end.
	Recovered uint64
	// RotationFailures and ExportFailures (of the checkpoint file) harm nothing yet.
	RotationFailures, ExportFailures uint64
	// Counted refusals were recorded, or will be, with others in one record.
	Counted uint64
	// Queued records wait for the writer.
	Queued int
	// Writing is how long the write under way has taken; 0: none is.
	Writing time.Duration
	// Lost lines of each copy, by the sink's name.
	Lost map[string]uint64
}

// Stats never blocks for longer than a lock is held.
func (l *Log) Stats() Stats {
	s := Stats{
		Records: l.stats.records.Load(), Batches: l.stats.batches.Load(), Refused: l.stats.refused.Load(),
		Failures: l.stats.failures.Load(), Lags: l.stats.lags.Load(), Recovered: l.stats.recovered.Load(),
		RotationFailures: l.stats.rotationFailures.Load(), ExportFailures: l.stats.exportFailures.Load(),
		Counted: l.flood.counted.Load(), Lost: map[string]uint64{},
	}
	for _, c := range l.copies {
		s.Lost[c.sink.name()] = c.lost.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Queued = len(l.next.callers)
	if !l.began.IsZero() {
		s.Writing = time.Since(l.began)
	}
	return s
}

// Complaints are what somebody should look at although records are written, a
// sentence each: copies that lack lines. It does not block.
func (l *Log) Complaints() []string {
	var out []string
	for _, c := range l.copies {
		if text := c.complaint(); text != "" {
			out = append(out, text)
		}
	}
	return out
}
