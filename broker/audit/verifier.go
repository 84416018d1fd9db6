package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"slices"
)

// history is how many newest lines are remembered, to tell which of two lines
// of one number was put in.
const history = 4096

// known is a line that was taken into the chain.
type known struct {
	seq  uint64
	hash digest
	file string
	at   int // line in its file
	// order of the file among those given.
	order int
}

// span of numbers that are missing so far, found missing at a place.
type span struct {
	from, to uint64
	at       Place
}

// verifier follows a chain. seq and prev are of the newest line that was taken.
type verifier struct {
	o      VerifyOptions
	report *Report
	kept   map[uint64][]Checkpoint

	file   string
	order  int
	lineNo int
	offset int64

	began   bool
	oldest  oldest
	seq     uint64
	prev    digest
	ring    [history]known
	missing []span
	// early are single lines that stood before their turn, until the chain claims them.
	early map[uint64]known
	buf   []byte
	// last is a copy of the newest line taken, for its time.
	last   []byte
	lastAt Place

	// odd lines are none of a chain; they may be torn ones that the next line tells of.
	odd      []byte
	oddLines int
	oddAt    Place
}

// next takes one line, with its newline.
func (v *verifier) next(text []byte) {
	l, ok := parseLink(trimNewline(text))
	if !ok {
		if !v.began { // torn, or of before there were chains: the chain's first line says how many bytes
			if v.offset == 0 {
				v.odd = v.odd[:0]
			}
			v.keepOdd(text)
			return
		}
		if v.oddLines == 0 {
			v.oddAt = v.place(0, nil)
		}
		v.oddLines++
		v.keepOdd(text)
		return
	}
	var own line
	if isControl(text) {
		if json.Unmarshal(trimNewline(text), &own) != nil {
			own = line{}
		}
	}
	if !v.began {
		v.begin(&l, &own, text)
		return
	}
	at := v.place(l.seq, nil)
	if v.oddLines > 0 || own.TornBytes > 0 {
		v.scarred(&l, &own, at)
	}
	v.follow(&l, &own, text)
}

// keepOdd keeps what a later line may explain; beyond a bound it is no torn batch.
func (v *verifier) keepOdd(text []byte) {
	if len(v.odd)+len(text) <= 16*maxLine {
		v.odd = append(v.odd, text...)
	}
}

// isTorn reports whether odd is what own says that a crash left.
func isTorn(odd []byte, own *line) bool {
	for _, end := range []int{len(odd), len(odd) - 1} { // the newline that ended it is not torn
		if end >= 0 && int64(end) == own.TornBytes && (digest(sha256.Sum256(odd[:end])).String() == own.TornSum || end == 0 && own.TornSum == "") {
			return true
		}
	}
	return false
}

// head checks what stands before the first line of the chain: so many bytes of
// no chain, then torn ones.
func (v *verifier) head(own *line, at Place, unchained int64) {
	switch {
	case v.offset == unchained && own.TornBytes == 0:
	case unchained <= v.offset && v.offset == int64(len(v.odd)) && isTorn(v.odd[unchained:], own):
		if own.TornBytes > 0 {
			v.note("%s: %d torn bytes of a crash or a failed write stand before it, as it says", at, own.TornBytes)
		}
	default:
		v.find(Changed, at, "%d bytes stand before it in its file, and it says %d", v.offset, unchained+own.TornBytes)
	}
	v.odd = v.odd[:0]
}

// begin takes the first line of the chain that was given.
func (v *verifier) begin(l *link, own *line, text []byte) {
	v.began = true
	at := v.place(l.seq, text)
	v.report.First = at
	var ok bool
	switch {
	case own.Audit == lineBegun && l.seq == 1:
		ok, v.buf = l.follows(digest{}, v.buf)
		v.head(own, at, own.UnchainedBytes)
		if own.UnchainedBytes > 0 {
			v.note("the chain begins at %s: the %d lines before it are of a Holdfast without one, and nothing is known of them", at, v.lineNo-1)
		}
	case own.Audit == lineFile:
		var prev digest
		if _, err := digestText.Strict().Decode(prev[:], []byte(own.Prev)); err == nil {
			v.oldest.prev = prev
			ok, v.buf = l.follows(prev, v.buf)
		}
		v.head(own, at, 0)
		v.oldest.further = true
		v.hears(own)
	default:
		v.find(Removed, at, "the lines before it are missing: a file does not begin with such a line")
		ok = true
	}
	if !ok {
		v.find(Changed, at, "its hash is wrong")
	}
	v.take(l, text)
}

// scarred judges odd lines by the line after them.
func (v *verifier) scarred(l *link, own *line, at Place) {
	if (own.Audit == lineRecovered || own.Audit == lineFile) && l.seq == v.seq+1 {
		if isTorn(v.odd, own) {
			if own.TornBytes > 0 {
				v.note("%s: %d torn bytes of a crash or a failed write, as the next line says", v.oddAt, own.TornBytes)
			}
			v.odd, v.oddLines = v.odd[:0], 0
			return
		}
		if v.oddLines == 0 {
			v.find(Removed, at, "the %d torn bytes that it tells of are not there", own.TornBytes)
			return
		}
	}
	v.strangers(l.seq)
}

// strangers reports odd lines that nothing explains; the line after them has number seq.
func (v *verifier) strangers(seq uint64) {
	if v.oddLines == 0 {
		return
	}
	if gap := seq - v.seq - 1; seq > v.seq && gap > 0 && gap == uint64(v.oddLines) {
		v.oddAt.Seq = v.seq + 1
		v.find(Changed, v.oddAt, "%d lines are damaged: they are no records any more", v.oddLines)
		v.seq += gap
		v.prev = digest{} // unknown
	} else {
		v.find(Inserted, v.oddAt, "%d lines are no records", v.oddLines)
	}
	v.odd, v.oddLines = v.odd[:0], 0
}

// follow compares a line with the chain before it.
func (v *verifier) follow(l *link, own *line, text []byte) {
	var ok bool
	switch {
	case l.seq == v.seq+1:
		if v.prev == (digest{}) { // what was before is damaged, and reported
			break
		}
		if ok, v.buf = l.follows(v.prev, v.buf); !ok {
			v.find(Changed, v.place(l.seq, text), "its hash does not fit: this line was changed, or the one before it together with its hash")
		}
	case l.seq > v.seq+1 && v.claims(l):
	case l.seq > v.seq+1:
		v.missing = append(v.missing, span{v.seq + 1, l.seq - 1, v.place(l.seq, text)})
	default:
		if !v.forked(l, text) {
			return
		}
	}
	v.hears(own)
	signed := own.Audit == lineCheckpoint && v.checkpoint(l, own, text)
	v.take(l, text)
	if signed {
		v.report.Checkpoints++
		v.report.Unsigned = 0
	}
}

// forked judges a line whose number was there already, or was missing; true: the
// chain goes on from it.
func (v *verifier) forked(l *link, text []byte) bool {
	at := v.place(l.seq, text)
	for i := range v.missing {
		if m := &v.missing[i]; m.from <= l.seq && l.seq <= m.to {
			if v.tooEarly(l, m) {
				return true
			}
			v.find(Reordered, at, "it stands after number %d", v.seq)
			rest := span{l.seq + 1, m.to, m.at}
			m.to = l.seq - 1
			v.missing = append(v.missing, rest)
			return false
		}
	}
	same, before := v.ring[l.seq%history], v.ring[(l.seq-1)%history]
	if same.seq == l.seq && same.hash == l.hash {
		v.find(Inserted, at, "it is a copy of %s:%d", same.file, same.at)
		return false
	}
	if before.seq == l.seq-1 && same.seq == l.seq {
		var ok bool
		if ok, v.buf = l.follows(before.hash, v.buf); ok {
			v.find(Inserted, same.place(), "%d lines from here were put in, or those from %s on: both go on from number %d", v.seq-l.seq+1, at, before.seq)
			return true
		}
	}
	v.find(Inserted, at, "its number was there already, and it fits nowhere")
	return false
}

// tooEarly reports that the one line after the gap m stood before its turn: this
// line fills the gap's beginning.
func (v *verifier) tooEarly(l *link, m *span) bool {
	before, stray := v.ring[(l.seq-1)%history], v.ring[v.seq%history]
	if l.seq != m.from || v.seq != m.to+1 || before.seq != l.seq-1 {
		return false
	}
	var ok bool
	if ok, v.buf = l.follows(before.hash, v.buf); !ok {
		return false
	}
	if v.early == nil {
		v.early = map[uint64]known{}
	}
	if len(v.early) < mostFindings {
		v.early[stray.seq] = stray
	}
	m.to = m.from - 1 // empty
	return true
}

// claims reports that the line before l is one that stood too early.
func (v *verifier) claims(l *link) bool {
	stray, ok := v.early[l.seq-1]
	if !ok || l.seq != v.seq+2 {
		return false
	}
	if ok, v.buf = l.follows(stray.hash, v.buf); !ok {
		return false
	}
	v.find(Reordered, stray.place(), "it stands before number %d", v.seq)
	delete(v.early, l.seq-1)
	return true
}

func (k known) place() Place { return Place{File: k.file, Line: k.at, Seq: k.seq, order: k.order} }

// take makes the line the newest of the chain.
func (v *verifier) take(l *link, text []byte) {
	v.seq, v.prev = l.seq, l.hash
	v.ring[l.seq%history] = known{l.seq, l.hash, v.file, v.lineNo, v.order}
	v.report.Lines++
	v.report.Unsigned++
	v.last, v.lastAt = append(v.last[:0], text...), Place{File: v.file, Line: v.lineNo, Seq: l.seq, order: v.order}
	for _, c := range v.kept[l.seq] {
		if c.Hash != l.hash {
			v.find(Rewritten, v.place(l.seq, text), "the checkpoint of %s that was kept has another hash of it: it, or something before it, was changed and the chain made anew", c.Time.Format(timeLayout))
		}
	}
}

// checkpoint checks one that stands in the chain; v.seq and v.prev are still of the line before.
func (v *verifier) checkpoint(l *link, own *line, text []byte) bool {
	c, err := ParseCheckpoint([]byte(own.Note), v.o.Key)
	if err != nil {
		v.find(Rewritten, v.place(l.seq, text), "%v", err)
		return false
	}
	if c.Seq != l.seq-1 || v.seq == c.Seq && v.prev != (digest{}) && v.prev != c.Hash {
		v.find(Rewritten, v.place(l.seq, text), "the checkpoint is not of the line before it: the chain was made anew")
		return false
	}
	return true
}

// finish judges what only the end shows.
func (v *verifier) finish() {
	r := v.report
	for _, stray := range v.early {
		v.find(Inserted, stray.place(), "its number comes later, and it fits nowhere")
	}
	for _, m := range v.missing {
		if m.from <= m.to {
			v.find(Removed, m.at, "numbers %d to %d, %d lines, are missing before it", m.from, m.to, m.to-m.from+1)
		}
	}
	if !v.began {
		v.note("no line belongs to a chain: all of it is of a Holdfast without one, and nothing is known of it")
	}
	v.file, v.lineNo, v.order = v.lastAt.File, v.lastAt.Line, v.lastAt.order
	r.Last = v.place(v.lastAt.Seq, v.last)
	if v.oddLines > 0 {
		v.note("%s: the end is torn, as a crash leaves it; the next start of Holdfast says so in the record", v.oddAt)
	}
	v.missesOldest()
	for seq, list := range v.kept {
		for _, c := range list {
			switch {
			case seq > v.seq:
				v.find(Truncated, r.Last, "the end is missing: the checkpoint of %s that was kept is of number %d, %d lines further", c.Time.Format(timeLayout), seq, seq-v.seq)
			case seq < r.First.Seq:
				v.keptBefore(&c)
			}
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.At.order, b.At.order), cmp.Compare(a.At.Line, b.At.Line))
	})
}
