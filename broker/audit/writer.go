package audit

import (
	"crypto/sha256"
	"errors"
	"hash"
	"sync/atomic"
	"time"
)

// retryEvery is how often a failed sink is tried by itself: when nothing is
// ready, nobody sends the calls whose records would try it.
const retryEvery = time.Second

// mark is where a line of a batch ends, and the chain after it.
type mark struct {
	end   int
	seq   uint64
	prev  digest
	isRec bool
}

// writer is what the one writing goroutine has to itself, except for the due
// flags, which timers set.
type writer struct {
	l     *Log
	sink  sink
	file  *file // the sink, if it is one
	chain chain
	out   []byte
	marks []mark
	body  []byte

	// first are bodies of lines to write before any other.
	first [][]byte
	// opening: the first of them is the first line of its file.
	opening bool
	// expired are old files to remove as soon as a line in the sink tells of it.
	expired []string
	// scar is what the next line must say was left behind; nil: nothing.
	scar *scar
	// unsigned counts records since the newest checkpoint.
	unsigned uint64
	// awaited: checkpointTimer runs, or has just set checkpointDue.
	awaited bool

	// failing: the newest write failed, and the log says so.
	failing bool

	startDue, checkpointDue, retryDue atomic.Bool
	checkpointTimer, retryTimer       *time.Timer
	closed                            error
}

// scar is what a failed or late write, or a crash, left behind.
type scar struct {
	// torn bytes at the end of the sink, hashed; open: they do not end a line.
	torn int64
	sum  hash.Hash
	open bool
	// from and to are records that stand in the log though their calls were
	// refused; unwritten ones were refused and do not.
	from, to, unwritten uint64
}

func (w *writer) heals() *scar {
	if w.scar == nil {
		w.scar = &scar{sum: sha256.New()}
	}
	return w.scar
}

// idle reports that there is nothing to write but records. l.mu is held.
func (w *writer) idle() bool {
	return !w.startDue.Load() && !w.checkpointDue.Load() && !w.retryDue.Load()
}

// commit writes a group, with the log's own lines around it, and answers its callers.
func (w *writer) commit(g *group) {
	w.l.starts() // a disk that hangs may do so in a rotation as well
	w.rotate()
	w.startDue.Store(false)
	w.retryDue.Store(false)
	from := chain{seq: w.chain.seq, prev: w.chain.prev}
	w.compose(g)
	note := w.dueCheckpoint()
	if len(w.out) == 0 {
		if late, dropped := w.l.ends(g, nil); late {
			w.tardy(from.seq, dropped)
		}
		return
	}
	n, err := w.sink.write(w.out)
	if err == nil && w.l.cfg.Level == Durable {
		err = w.sink.sync()
	}
	if err == nil && len(w.expired) > 0 {
		w.removeExpired()
	}
	late, dropped := w.l.ends(g, err)
	w.l.stats.batches.Add(1)
	if err != nil {
		w.failed(from, n, len(g.ends)+dropped, err)
		return
	}
	w.first, w.scar = nil, nil
	if w.failing {
		w.failing = false
		w.l.cfg.Log.Info("the audit record can be written again")
	}
	w.written(g, note)
	if late {
		w.tardy(from.seq, dropped)
	}
}

// tardy takes stock of what went through, but too late: the callers of the lines
// after number before were refused, and those of so many records that were dropped.
func (w *writer) tardy(before uint64, dropped int) {
	s := w.heals()
	if w.chain.seq > before {
		s.from, s.to = before+1, w.chain.seq
	}
	s.unwritten = uint64(dropped)
	w.retryDue.Store(true)
}

// compose makes the batch: what a crash left, the log's own lines, the records.
func (w *writer) compose(g *group) {
	w.out, w.marks = w.out[:0], w.marks[:0]
	first := w.first
	if w.scar != nil {
		if w.scar.open {
			w.out = append(w.out, '\n')
		}
		// In a file without a line, its first one must say what stands before it.
		if w.opening && len(first) > 0 {
			w.body, first = append(w.body[:0], first[0]...), first[1:]
		} else {
			w.body = appendControl(w.body[:0], w.l.cfg.Now(), lineRecovered)
		}
		w.body = w.scar.append(w.body)
		w.line(w.body, false)
	}
	for _, body := range first {
		w.line(body, false)
	}
	start := 0
	for _, end := range g.ends {
		w.line(g.bodies[start:end], true)
		start = end
	}
	w.unsigned += uint64(len(g.ends))
}

func (w *writer) line(body []byte, isRecord bool) {
	w.out = w.chain.append(w.out, body)
	w.marks = append(w.marks, mark{end: len(w.out), seq: w.chain.seq, prev: w.chain.prev, isRec: isRecord})
}

// dueCheckpoint adds a checkpoint of all before it, if one is due, and returns it.
func (w *writer) dueCheckpoint() string {
	due := w.checkpointDue.Swap(false)
	if due {
		w.awaited = false
	}
	if w.unsigned < w.l.cfg.CheckpointRecords && !due {
		return ""
	}
	return w.checkpoint()
}

func (w *writer) checkpoint() string {
	if w.l.cfg.Origin == "" || w.unsigned == 0 {
		return ""
	}
	now := w.l.cfg.Now()
	note, err := Checkpoint{Origin: w.l.cfg.Origin, Seq: w.chain.seq, Hash: w.chain.prev, Time: now}.sign(w.l.cfg.Key)
	if err != nil {
		w.l.cfg.Log.Error("a checkpoint of the audit record could not be signed", "error", err)
		return ""
	}
	w.body = appendField(appendControl(w.body[:0], now, lineCheckpoint), "note", note)
	w.line(w.body, false)
	w.unsigned = 0
	return note
}

// written is called after a batch reached the sink.
func (w *writer) written(g *group, note string) {
	w.l.stats.records.Add(uint64(len(g.ends)))
	for _, c := range w.l.copies {
		c.offer(w.out, len(w.marks))
	}
	switch {
	case note != "":
		w.checkpointTimer.Stop()
		w.awaited = false
		w.l.exported.offer(note)
	case w.unsigned > 0 && !w.awaited && w.l.cfg.Origin != "":
		w.awaited = true
		w.checkpointTimer.Reset(w.l.cfg.CheckpointEvery)
	}
}

// failed takes stock after n bytes of the batch reached the sink: whole lines
// are in the chain, though their callers are refused; the rest is torn.
func (w *writer) failed(from chain, n, callers int, err error) {
	w.l.stats.failures.Add(1)
	whole, records := 0, 0
	if w.scar != nil && w.scar.open && w.scar.torn == 0 && n > 0 {
		whole = 1 // the newline that the last whole line lacked
		w.scar.open = false
	}
	w.chain.seq, w.chain.prev = from.seq, from.prev
	for _, m := range w.marks {
		if m.end-1 > n { // a line that lacks its newline alone is whole
			break
		}
		whole, w.chain.seq, w.chain.prev = min(m.end, n), m.seq, m.prev
		if m.isRec {
			records++
		}
	}
	if w.chain.seq > from.seq {
		w.scar = nil // the line that tells of the older one is written
		w.first = nil
	}
	s := w.heals()
	if w.chain.seq > from.seq {
		s.from, s.to = from.seq+1, w.chain.seq
	}
	s.unwritten += uint64(callers - records)
	if n > whole {
		// A torn newline of an open end is torn like the rest.
		s.torn += int64(n - whole)
		_, _ = s.sum.Write(w.out[whole:n]) // never fails
	}
	if n > 0 {
		s.open = w.out[n-1] != '\n'
	}
	w.unsigned = max(w.unsigned, 1) // what was a checkpoint may be gone
	w.retryTimer.Reset(retryEvery)
	if !w.failing { // once, not once a second
		w.l.cfg.Log.Error("the audit record can not be written; nothing is handed out until it can", "error", err)
	}
	w.failing = true
}

// append adds what there is to tell to the body of a line.
func (s *scar) append(b []byte) []byte {
	if s.torn > 0 {
		b = appendNumber(b, "torn_bytes", uint64(s.torn))
		var sum digest
		s.sum.Sum(sum[:0])
		b = appendField(b, "torn_sha256", sum.String())
	}
	b = appendNumber(b, "refused_from", s.from)
	b = appendNumber(b, "refused_to", s.to)
	return appendNumber(b, "refused_unwritten", s.unwritten)
}

// end writes the last checkpoint and closes everything.
func (w *writer) end() {
	w.checkpointTimer.Stop()
	w.retryTimer.Stop()
	if w.scar == nil && len(w.first) == 0 {
		w.out, w.marks = w.out[:0], w.marks[:0]
		if note := w.checkpoint(); note != "" {
			if _, err := w.sink.write(w.out); err != nil {
				w.closed = err
			} else {
				w.written(&group{}, note)
			}
		}
	}
	// What counts comes first: a copy may take its time.
	w.closed = errors.Join(w.closed, w.sink.close(), w.l.exported.close())
	for _, c := range w.l.copies {
		c.close()
	}
}
