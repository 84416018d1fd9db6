package storage

import (
	"context"
	"strings"
)

// unchanged ends an error of the store after which everything is as it was. Of
// a copy that says too little: which of the two is the store?
const unchanged = "; nothing was changed"

// brokenOff is the error of a copy that did not come to its end.
func (c *copier) brokenOff(err error) error {
	text, way := err.Error(), c.wayOut()
	if way == "" {
		if !strings.Contains(text, unchanged) {
			text += "; the source is not marked as moved: it is the store as before, and there is nothing to undo"
		}
		return told{err, text}
	}
	// What failed changed nothing, but what came before it did.
	return told{err, strings.ReplaceAll(text, unchanged, "") + way}
}

// told is an error in other words.
type told struct {
	error
	text string
}

func (t told) Error() string { return t.text }
func (t told) Unwrap() error { return t.error }

// wayOut says, for the end of an error, which of the two is the store now; empty:
// the source is, as before.
func (c *copier) wayOut() string {
	const on = "run the same holdfast store copy again, which goes on, or holdfast store copy --undo, which gives the source back"
	marked, known := c.marked()
	switch {
	case !known:
		return "; whether the source is marked as moved could not be found out: start no broker, and once the cause is gone " + on
	case !marked:
		return ""
	case c.source.header.Load().Moved.Done:
		return "; the source stays marked as moved, and all of it has gone to " + c.source.header.Load().Moved.To +
			": start the broker there; if that is refused because the copy is not complete, run the same holdfast store copy again once the cause is gone"
	}
	return "; the source stays marked as moved, and no broker starts on it: once the cause is gone " + on
}

// marked reports whether the source is marked as moved. One whose marking failed
// may be marked all the same; the context of the copy may have ended by now.
func (c *copier) marked() (marked, known bool) {
	if c.source.header.Load().Moved != nil || !c.marking {
		return c.source.header.Load().Moved != nil, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), headerTimeout)
	defer cancel()
	h, err := readHeader(ctx, &c.from)
	return h.Moved != nil, err == nil
}
