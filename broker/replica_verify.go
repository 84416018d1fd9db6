package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// looked is a slot's entry at the time of a question to the store.
type looked struct {
	slot  *slot
	entry *entry
}

// verifyHot looks at all hot entries and at the records of all apps.
func (r *replica) verifyHot(ctx context.Context) error {
	if err := r.verifyApps(ctx); err != nil { // alone it measures the clock, and finds that the store answers
		return err
	}
	return r.verify(ctx, r.hotSlots())
}

// verifyAwaited looks at the entries for which calls wait or hints came.
func (r *replica) verifyAwaited(ctx context.Context) error {
	slots, apps := r.awaited()
	var err error
	if apps {
		err = r.verifyApps(ctx)
	}
	return errors.Join(err, r.verify(ctx, slots))
}

// versions asks the store, and learns from the answer what time it is there.
func (r *replica) versions(ctx context.Context, keys []storage.Key) ([]storage.Version, moment, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	began := r.b.clock.moment()
	versions, said, err := r.shared.Versions(ctx, keys)
	if err == nil && len(versions) != len(keys) {
		err = fmt.Errorf("%w: it gave %d versions for %d keys", storage.ErrUnavailable, len(versions), len(keys))
	}
	r.counts.queries.Add(1)
	r.answered(began.local, err)
	if err != nil {
		return nil, began, fmt.Errorf("asking for versions: %w", err)
	}
	r.b.clock.learn(began, said)
	if now := r.b.store.Followed(); r.followed.Swap(now) != now {
		r.forgetRecords()
	}
	return versions, began, nil
}

// verify looks at slots, some at a time, and reads again what has changed.
func (r *replica) verify(ctx context.Context, slots []*slot) error {
	for some := range slices.Chunk(slots, verifiedAtOnce) {
		list, keys := make([]looked, len(some)), make([]storage.Key, len(some))
		for i, sl := range some {
			list[i] = looked{sl, sl.entry.Load()}
			keys[i] = storage.Key{Kind: storage.KindGrant, ID: list[i].entry.grant.ID}
		}
		versions, began, err := r.versions(ctx, keys)
		if err != nil {
			return err
		}
		var changed []looked
		for i, l := range list {
			if !r.compare(l, versions[i], began.local) {
				changed = append(changed, l)
			}
		}
		r.readAgain(ctx, changed)
	}
	return nil
}

// compare takes the version that the store has now; false: the slot's entry is not
// the record any more, and is not to be served again whatever happens.
func (r *replica) compare(l looked, version storage.Version, began time.Time) bool {
	e := l.entry
	switch { // what was deleted is of version 0
	case e.grant.Version == version && !e.purged, version == 0 && e.purged:
		e.verify(began)
		return true
	case l.slot.entry.Load() != e || r.b.hot.findID(e.grant.ID) != l.slot:
		return true // somebody has read a newer one since, or the slot is gone
	}
	e.outdate(began)
	r.counts.changed.Add(1)
	if version != 0 && version < e.grant.Version {
		// The store has lost what it once said: no version in memory means what it did.
		r.b.log.Error("the store's records are older than those in memory: all are read again", "grant", e.grant.Address.String())
		r.forgetRecords()
	}
	return false
}

// look verifies one slot, and reads its record again if that has changed, or if
// the cache has dropped the slot, which nothing brings up to date any more.
// Concurrent calls share one look, which may have begun before the call.
func (r *replica) look(ctx context.Context, sl *slot) error {
	l := looked{sl, sl.entry.Load()}
	key := storage.Key{Kind: storage.KindGrant, ID: l.entry.grant.ID}
	if r.b.hot.findID(key.ID) != sl {
		return r.read(ctx, l.entry)
	}
	return r.share(ctx, "verify "+key.ID, func(ctx context.Context) error {
		versions, began, err := r.versions(ctx, []storage.Key{key})
		if err != nil || r.compare(l, versions[0], began.local) {
			return err
		}
		return r.read(ctx, l.entry)
	})
}

// share does what was named once for all who ask for it at a time. It is detached:
// a caller that leaves ends its own wait alone.
func (r *replica) share(ctx context.Context, name string, do func(context.Context) error) error {
	done := r.b.flights.DoChan(name, func() (_ any, err error) {
		defer r.b.survive("reading a grant", &err)
		ctx, cancel := detach(ctx, 2*answerWithin)
		defer cancel()
		return nil, do(ctx)
	})
	select {
	case found := <-done:
		return found.Err
	case <-ctx.Done():
		return fmt.Errorf("reading a grant: %w", ctx.Err())
	}
}

// readAgain reads the records of entries that are outdated, and waits for it.
func (r *replica) readAgain(ctx context.Context, list []looked) {
	var all sync.WaitGroup
	room := make(chan struct{}, readAtOnce)
	for _, l := range list {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			// One that fails stays outdated: the next round and the next draw try again.
			if err := r.read(ctx, l.entry); err != nil && ctx.Err() == nil {
				r.b.log.Warn("reading a grant that was changed elsewhere failed; it is tried again", "grant", l.entry.grant.Address.String(), "error", err)
			}
		})
	}
	all.Wait()
}

// read reads the record of an entry again. Concurrent readers of one grant share
// one read, which may have begun before the call.
func (r *replica) read(ctx context.Context, e *entry) error {
	return r.share(ctx, "read "+e.grant.ID, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		began := r.b.clock.local()
		g, err := r.b.store.Grant(ctx, e.grant.ID)
		switch {
		case err == nil:
			r.b.hot.publish(g, began)
		case errors.Is(err, storage.ErrNotFound):
			r.b.hot.purge(&e.grant, began)
			return nil
		}
		return err
	})
}

// verifyApps looks at the records of all apps: who paused them, and what was counted.
func (r *replica) verifyApps(ctx context.Context) error {
	ids := r.b.appIDs()
	keys, known := make([]storage.Key, len(ids)), make([]storage.Version, len(ids))
	for i, id := range ids {
		keys[i] = storage.Key{Kind: storage.KindApp, ID: id}
		known[i] = r.b.apps[id].knows()
	}
	now := r.b.now()
	versions, _, err := r.versions(ctx, keys)
	if err != nil {
		return err
	}
	for i, id := range ids {
		a := r.b.apps[id]
		if versions[i] == known[i] {
			a.stillKnows(known[i], now)
			continue
		}
		r.counts.changed.Add(1)
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		rerr := r.b.readApp(ctx, a)
		cancel()
		err = errors.Join(err, rerr)
	}
	return err
}

// knownFor is for how long what was read of an app's record is relied on.
func (b *Broker) knownFor() time.Duration {
	if b.replica != nil {
		return freshFor
	}
	return knownFor
}

// knows is the version of the app's record in memory.
func (a *app) knows() storage.Version {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tally.record.Version
}

// stillKnows notes that the record had that version at some time after now.
func (a *app) stillKnows(version storage.Version, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tally.record.Version == version && now.After(a.tally.knownAt) {
		a.tally.knownAt = now
	}
}
