package audit

import (
	"strconv"
	"strings"
)

// oldest is what a verifier knows of the lines before the first one given.
type oldest struct {
	// prev is what the first line goes on from; zero: unknown.
	prev digest
	// further: it begins a further file, as it should.
	further bool
	// told: a line says that Holdfast removed the file before it.
	told bool
}

// hears reads in a line which files Holdfast removed. A file's name ends with the
// number of its last line; one that ends right before the first line given
// stands for all before it, since only the oldest are ever removed.
func (v *verifier) hears(own *line) {
	if own.Audit != lineFile || v.report.First.Seq <= 1 {
		return
	}
	for name := range strings.FieldsSeq(own.Removed) {
		last, err := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 10, 64)
		if err == nil && last == v.report.First.Seq-1 {
			v.oldest.told = true
		}
	}
}

// missesOldest judges that the record begins with a further file.
func (v *verifier) missesOldest() {
	first := v.report.First
	if !v.oldest.further || first.Seq <= 1 {
		return // it is whole, or found not to be
	}
	switch {
	case v.oldest.told:
		v.note("numbers 1 to %d are no longer there: Holdfast removed their files as configured, as a later line says", first.Seq-1)
	case v.o.Part:
		v.note("the first file given begins with number %d; of earlier ones nothing is known", first.Seq)
	default:
		v.find(Removed, first, "numbers 1 to %d are missing before it, and no later line says that Holdfast removed them; if their files are kept elsewhere, give them too, or say --part",
			first.Seq-1)
	}
}

// keptBefore compares a checkpoint of before the first line given.
func (v *verifier) keptBefore(c *Checkpoint) {
	first, at := v.report.First, c.Time.Format(timeLayout)
	switch {
	case c.Seq == first.Seq-1 && v.oldest.prev != (digest{}):
		if c.Hash != v.oldest.prev {
			v.find(Rewritten, first, "the checkpoint of %s that was kept is of the line before it, and has another hash than this one goes on from: the chain was made anew", at)
		}
	case v.oldest.told || v.o.Part:
		v.note("the checkpoint of %s is of number %d, before the first file given: it was not compared", at, c.Seq)
	default:
		v.find(Removed, first, "the checkpoint of %s that was kept is of number %d, which is missing", at, c.Seq)
	}
}
