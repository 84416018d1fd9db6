package audit

import (
	"fmt"
	"log/slog"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// start begins to export to file; "": there is none. The file may lie on a slow
// disk: it must not hold up the records.
func (e *exporter) start(file string, log *slog.Logger, s *stats) {
	if file == "" {
		return
	}
	e.next, e.done = make(chan string, 1), make(chan struct{})
	go func() {
		defer close(e.done)
		for text := range e.next {
			if e.failed = durable.WriteFile(file, []byte(text)); e.failed != nil {
				e.failed = fmt.Errorf("exporting a checkpoint of the audit record: %w", e.failed)
				s.exportFailures.Add(1)
				log.Warn("a checkpoint of the audit record could not be exported", "file", file, "error", e.failed)
			}
		}
	}()
}

// offer exports the newest checkpoint; an older one that waits still is dropped.
func (e *exporter) offer(text string) {
	e.newest.Store(&text)
	if e.next == nil {
		return
	}
	select {
	case <-e.next:
	default:
	}
	e.next <- text // room: nobody else sends
}

// close waits until the newest checkpoint is exported.
func (e *exporter) close() error {
	if e.next == nil {
		return nil
	}
	close(e.next)
	<-e.done
	return e.failed
}
