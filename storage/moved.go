package storage

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A store is copied to another place (Copy) in these steps, each durable before
// the next. Of the two sides never more than one opens.
//
//	source header  Moved: it opens no more
//	source ring    stored anew, if replicas share the source: whatever they store
//	               depends on its version, so that from now on they store nothing
//	source header  Moved.Stopped
//	target header  made, with Arriving: it does not open yet
//	target         spill files, records and journals, then compared with the source
//	source header  Moved.Done: everything has arrived
//	target header  Arriving is removed: it opens
//
// UndoCopy goes back: it puts Arriving, which no copy will ever end any more,
// onto the target if that was finished, and then removes Moved from the source. At
// last it says on the target that it was undone.

// moved is the mark of a store that has gone elsewhere. It spends nothing any more.
type moved struct {
	// ID of the copy, random: only the target that names it too may be finished.
	ID string    `json:"id"`
	To string    `json:"to"`
	At time.Time `json:"at"`
	// Stopped: what replicas had under way has ended, and they begin nothing any more.
	Stopped bool `json:"stopped"`
	// Done: everything has arrived, so that the target may be in use.
	Done bool `json:"done"`
}

// arriving is the mark of a store that is not complete yet.
type arriving struct {
	ID   string `json:"id"`
	From string `json:"from"`
	// Undone: the source was given back. It is for people alone: without it, too, no
	// copy ends any more whose source does not name its id.
	Undone bool `json:"undone,omitempty"`
}

func (h *header) marked() bool { return h.Moved != nil || h.Arriving != nil }

// appendMarks adds the marks to what the header's MAC covers; nothing if there
// are none, as in a header of before there were any.
func (h *header) appendMarks(b []byte) []byte {
	if m := h.Moved; m != nil {
		flags := uint32(0)
		if m.Stopped {
			flags = 1
		}
		if m.Done {
			flags |= 2
		}
		for _, s := range []string{"moved", m.ID, m.To, m.At.UTC().Format(time.RFC3339Nano)} {
			b = appendBytes(b, []byte(s))
		}
		b = binary.BigEndian.AppendUint32(b, flags)
	}
	if a := h.Arriving; a != nil {
		for _, s := range []string{"arriving", a.ID, a.From} {
			b = appendBytes(b, []byte(s))
		}
		if a.Undone {
			b = appendBytes(b, []byte("undone"))
		}
	}
	return b
}

// mayOpen is an error if the store was moved away, or has not arrived.
func (h *header) mayOpen(name string) error {
	switch {
	case h.Arriving != nil && h.Arriving.Undone:
		return fmt.Errorf("%s is of a copy of %s that was undone, and never opens: the store is in %s, use that; "+
			"empty this place before something is copied here again; nothing was changed", name, h.Arriving.From, h.Arriving.From)
	case h.Arriving != nil:
		return fmt.Errorf("%s is of a copy of %s that is not complete: run the same holdfast store copy again, or, to use %s, "+
			"holdfast store copy --undo; if either says that there is nothing to end or to undo, the store is in %s, and this place can be emptied; nothing was changed",
			name, h.Arriving.From, h.Arriving.From, h.Arriving.From)
	case h.Moved != nil && h.Moved.Done:
		return fmt.Errorf("%s says that the store was moved to %s at %s and must never be used here again: configure the store there; "+
			"as long as no broker has been started there, holdfast store copy --undo brings it back here; nothing was changed",
			name, h.Moved.To, h.Moved.At.UTC().Format(time.RFC3339))
	case h.Moved != nil:
		return fmt.Errorf("%s says that the store is being moved to %s since %s: run the same holdfast store copy again, "+
			"or holdfast store copy --undo to stay here; nothing was changed", name, h.Moved.To, h.Moved.At.UTC().Format(time.RFC3339))
	}
	return nil
}
