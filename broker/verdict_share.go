package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

const (
	// shareEvery is how often a replica tells the others what it counted, and
	// hears what they did.
	shareEvery = 10 * time.Second
	// mostEdits wait for a record that can not be written; the oldest go first.
	mostEdits = 256
)

// shareAppsEvery shares at once, every shareEvery, and once more at the end.
func (b *Broker) shareAppsEvery() {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	for {
		b.shareApps(b.ctx)
		select {
		case <-b.ctx.Done():
			// What happened last is worth a moment of the shutdown.
			ctx, cancel := detach(b.ctx, readPatience)
			defer cancel()
			b.shareApps(ctx)
			return
		case <-tick.C:
		}
	}
}

// shareApps brings the records of all apps up to date, and what is known of them.
func (b *Broker) shareApps(ctx context.Context) {
	for _, id := range b.appIDs() {
		a := b.apps[id]
		err := b.shareApp(ctx, a)
		a.mu.Lock()
		first := err != nil && !a.tally.failing
		a.tally.failing = err != nil
		a.mu.Unlock()
		if first && ctx.Err() == nil {
			b.log.Warn("the record of an app cannot be read or written; this replica goes on with what it counted itself", "app", id, "error", err)
		}
	}
}

// shareApp writes the app's record if there is news, and knows it afterwards.
func (b *Broker) shareApp(ctx context.Context, a *app) error {
	began := b.now()
	var counted uint64
	var edits int
	rec, err := b.changeApp(ctx, a.ID, func(rec *storage.App) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		t := &a.tally
		counted, edits = t.counted, len(t.edits)
		was := rec.VerdictsHeld
		t.mergeInto(rec, b.now())
		for _, edit := range t.edits {
			edit(rec)
		}
		return counted != t.shared || edits > 0 || rec.VerdictsHeld != was
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tally.shared = counted
	a.tally.edits = a.tally.edits[min(edits, len(a.tally.edits)):]
	a.know(rec, began)
	return nil
}

// changeApp reads an app's record, lets edit change it, and writes it; again on
// a conflict. edit must not rely on being called once; false: there is nothing
// to write. It returns the record as it is then.
func (b *Broker) changeApp(ctx context.Context, id string, edit func(*storage.App) bool) (storage.App, error) {
	var err error
	for range 16 {
		var rec storage.App
		if rec, err = b.appRecord(ctx, id); err != nil {
			return rec, err
		}
		if !edit(&rec) {
			return rec, nil
		}
		err = b.store.SwapApp(ctx, &rec)
		if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrUnknown) {
			return rec, err
		}
	}
	return storage.App{}, fmt.Errorf("the record kept changing: %w", err)
}

// appRecord reads an app's record; one that was never written is empty.
func (b *Broker) appRecord(ctx context.Context, id string) (storage.App, error) {
	rec, err := b.store.App(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.App{ID: id}, nil
	}
	return rec, err
}

// readApp brings what is known of an app up to date.
func (b *Broker) readApp(ctx context.Context, a *app) error {
	began := b.now()
	rec, err := b.appRecord(ctx, a.ID)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.know(rec, began)
	return nil
}

// know takes over a record whose reading began at a time. It needs a.mu.
func (a *app) know(rec storage.App, began time.Time) {
	t := &a.tally
	if rec.Version < t.record.Version {
		return // somebody has read a newer one meanwhile
	}
	t.record = rec
	if began.After(t.knownAt) {
		t.knownAt = began
	}
	if !rec.HeldAt.Before(t.heldAt) {
		a.setHeld(rec.VerdictsHeld, rec.HeldAt)
	}
	for _, e := range rec.Events {
		if e.Type == storage.AppResumed && e.At.After(t.resumedAt) {
			t.resumedAt = e.At
			a.unpause()
		}
	}
}

// note has edit applied to the app's record soon, in about shareEvery. It may be
// applied to several readings of the record, and must not block. It needs a.mu.
func (a *app) note(edit func(*storage.App)) {
	a.tally.edits = append(a.tally.edits, edit)
	a.tally.edits = a.tally.edits[max(0, len(a.tally.edits)-mostEdits):]
}

// noteEvent has an event recorded soon, and logs it. It needs a.mu.
func (a *app) noteEvent(e storage.AppEvent) {
	a.log.Warn("app event", "app", a.ID, "event", string(e.Type), "detail", e.Detail)
	a.note(func(rec *storage.App) {
		if !a.shared || !seenElsewhere(rec, e.Type) {
			addEvent(rec, e)
		}
	})
}

// opposites are the events that end what others began.
var opposites = map[storage.AppEventType]storage.AppEventType{
	storage.AppMisconfigured: storage.AppRecovered, storage.AppRecovered: storage.AppMisconfigured,
	storage.AppCircuitOpened: storage.AppCircuitClosed, storage.AppCircuitClosed: storage.AppCircuitOpened,
}

// seenElsewhere reports whether the newest such event, or opposite, is the same:
// each replica finds by itself that a provider fails and that it is back, and one of them is to be told of.
func seenElsewhere(rec *storage.App, t storage.AppEventType) bool {
	for _, e := range slices.Backward(rec.Events) {
		if e.Type == t || e.Type == opposites[t] {
			return e.Type == t
		}
	}
	return false
}

// tell has an event recorded soon, and logs it.
func (a *app) tell(e storage.AppEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noteEvent(e)
}

// addEvent appends e, unless a write of unknown outcome has done so already.
func addEvent(rec *storage.App, e storage.AppEvent) {
	for _, known := range rec.Events {
		if known.Type == e.Type && known.At.Equal(e.At) && known.Detail == e.Detail {
			return
		}
	}
	rec.Events = append(rec.Events, e)
}
