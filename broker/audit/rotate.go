package audit

import (
	"errors"
	"os"
	"time"
)

// rotate begins a new file if the present one is full and whole.
func (w *writer) rotate() {
	c := &w.l.cfg
	if w.file == nil || !w.file.regular || c.RotateSize <= 0 || w.file.size < c.RotateSize || w.scar != nil || len(w.first) > 0 {
		return
	}
	if c.rotating != nil {
		c.rotating()
	}
	renamed, err := w.file.rotate(w.chain.seq)
	if renamed == "" {
		w.l.stats.rotationFailures.Add(1)
		c.Log.Warn("the audit file could not be rotated and grows on", "error", err)
		w.file.size = 0 // tried again a file's size later
		return
	}
	var oldest time.Time
	if c.KeepFor > 0 {
		oldest = c.Now().Add(-c.KeepFor)
	}
	var eerr error
	w.expired, eerr = expired(c.File, c.Keep, oldest)
	if err = errors.Join(err, eerr); err != nil {
		c.Log.Warn("rotating the audit file", "error", err)
	}
	w.opens(w.fileBody(w.expired))
}

// removeExpired removes what the newest file's first line, which was written, says
// is removed. What can not be removed now is listed again by the next rotation.
func (w *writer) removeExpired() {
	err := w.sink.sync() // a power cut must not take the line and leave the removal
	for _, name := range w.expired {
		if err != nil {
			break // a gap in the middle would look like a removed file
		}
		err = os.Remove(name)
	}
	if err != nil {
		w.l.cfg.Log.Warn("removing old audit files", "error", err)
	}
	w.expired = nil
}
