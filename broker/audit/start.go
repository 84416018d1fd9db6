package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// open opens the sinks and finds out where the chain goes on.
func (w *writer) open(l *Log) error {
	w.l = l
	c := &l.cfg
	copies := []copySink{}
	if c.Stdout != nil {
		copies = append(copies, stream{c.Stdout})
	}
	if c.Exporter != nil {
		copies = append(copies, exports{c.Exporter})
	}
	if c.File != "" {
		f, err := openFile(c.File)
		if err != nil {
			return err
		}
		if err := w.resume(f); err != nil {
			return errors.Join(err, f.f.Close())
		}
		w.file, w.sink = f, f
	} else {
		// Nothing can be read back: each start begins a chain.
		w.sink, copies = primary{copies[0]}, copies[1:]
		w.begin(0)
	}
	if c.faults != nil {
		w.sink = c.faults(w.sink)
	}
	for _, s := range copies {
		l.copies = append(l.copies, newCopier(s, c.Log))
	}
	l.exported.start(c.CheckpointFile, c.Log, &l.stats)
	w.startDue.Store(true)
	w.checkpointTimer = time.AfterFunc(time.Hour, func() { w.due(&w.checkpointDue) })
	w.retryTimer = time.AfterFunc(time.Hour, func() { w.due(&w.retryDue) })
	w.checkpointTimer.Stop()
	w.retryTimer.Stop()
	return nil
}

// due sets a flag and wakes the writer.
func (w *writer) due(flag interface{ Store(v bool) }) {
	flag.Store(true)
	w.l.nudge()
}

// begin makes the first line of a chain, after so many bytes that no chain holds.
func (w *writer) begin(unchained int64) {
	b := appendControl(nil, w.l.cfg.Now(), lineBegun)
	b = appendField(b, "origin", w.l.cfg.Origin)
	w.opens(appendNumber(b, "unchained_bytes", uint64(unchained)))
}

// opens makes body the first line of the file.
func (w *writer) opens(body []byte) { w.first, w.opening = [][]byte{body}, true }

// fileBody is the first line of a further file, which says which old files it is
// about to remove.
func (w *writer) fileBody(expired []string) []byte {
	b := appendControl(nil, w.l.cfg.Now(), lineFile)
	b = appendField(b, "prev", w.chain.prev.String())
	names := make([]string, len(expired))
	for i, name := range expired {
		names[i] = filepath.Base(name)
	}
	return appendField(b, "removed", strings.Join(names, " "))
}

// resume goes on with the chain of f, or of the file that was full before a
// crash kept the next one from being begun.
func (w *writer) resume(f *file) error {
	if !f.regular {
		w.begin(0)
		return nil
	}
	if f.size == 0 {
		return w.resumeAfter(f)
	}
	t, err := readTail(f.f, f.size)
	if err != nil {
		return fmt.Errorf("%s: %w; move the file away, and keep it, to begin a new one", f.path, err)
	}
	if t.old {
		return w.resumeOld(f, t.open)
	}
	if t.torn > 0 || t.open {
		w.scar = &scar{torn: t.torn, sum: t.sum, open: t.open}
		w.l.stats.recovered.Add(1)
		w.l.cfg.Log.Warn("the audit file ends within a line, as after a crash; the record says so and goes on", "file", f.path, "torn_bytes", t.torn)
	}
	if !t.chained { // the crash was in the first write of this file
		return w.resumeAfter(f)
	}
	w.chain = t.chain
	w.first = append(w.first, appendControl(nil, w.l.cfg.Now(), lineOpened))
	return nil
}

// resumeOld begins a chain after the lines of an earlier Holdfast.
func (w *writer) resumeOld(f *file, open bool) error {
	if open {
		f.size++
		if _, err := f.f.Write([]byte("\n")); err != nil {
			return fmt.Errorf("ending the last line of %s: %w", f.path, err)
		}
	}
	w.begin(f.size)
	return nil
}

// resumeAfter begins a file in which no line is whole: it goes on from the newest
// full file, if there is one.
func (w *writer) resumeAfter(f *file) error {
	names, err := segments(f.path)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		w.begin(0)
		return nil
	}
	last, err := os.Open(names[len(names)-1])
	if err != nil {
		return fmt.Errorf("reading the newest full audit file: %w", err)
	}
	defer func() { _ = last.Close() }() // only read
	info, err := last.Stat()
	if err != nil {
		return fmt.Errorf("reading the newest full audit file: %w", err)
	}
	t, err := readTail(last, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", last.Name(), err)
	}
	if !t.chained {
		return fmt.Errorf("%s holds no line of the audit chain: is it an audit file of %s? Move it away, and keep it",
			last.Name(), filepath.Base(f.path))
	}
	w.chain = t.chain
	w.opens(w.fileBody(nil))
	return nil
}
