package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
)

// tail is what a start finds at the end of the newest file.
type tail struct {
	chain chain
	// chained is false if no line of a chain was found.
	chained bool
	// old: it is an earlier Holdfast's, of before there were chains.
	old bool
	// torn bytes after the last line, with their hash, are what a crash left.
	torn int64
	sum  hash.Hash
	// open: the file does not end with a newline.
	open bool
}

// readTail looks for the newest line of the chain in f. A torn or damaged end is
// passed over; what was written before there were chains is left alone.
func readTail(f *os.File, size int64) (tail, error) {
	t := tail{sum: sha256.New()}
	end := size // of the newest line
	err := backwards(context.Background(), f, size, func(line []byte, offset int64, whole bool) bool {
		l, ok := parseLink(line)
		if !ok {
			// One line of another form before anything chained: an earlier
			// Holdfast's, if it is whole, and then all before it is, too.
			t.old = whole && isRecord(line)
			return !t.old
		}
		t.chained, t.chain = true, chain{seq: l.seq, prev: l.hash}
		end = offset + int64(len(line))
		if whole {
			end++
		}
		return false
	})
	if err != nil {
		return t, err
	}
	if size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return t, fmt.Errorf("reading the end of the audit file: %w", err)
		}
		t.open = last[0] != '\n'
	}
	switch {
	case !t.chained && !t.old:
		end = 0 // the first write of the file is torn
	case !t.chained:
		return t, nil
	}
	if end < size {
		t.torn = size - end
		if _, err := io.Copy(t.sum, io.NewSectionReader(f, end, t.torn)); err != nil {
			return t, fmt.Errorf("reading the torn end of the audit file: %w", err)
		}
	}
	return t, nil
}
