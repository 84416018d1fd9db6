package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// seam is one replica's connection to the store that all replicas share: where
// the store fails, the power goes, and the process is stopped.
type seam struct{ life *life }

var errPower = fmt.Errorf("%w: the power is off", storage.ErrUnavailable)

// admit waits while the replica is stopped; an error: it is dead, or the store
// does not answer it.
func (s *seam) admit() error {
	if err := s.life.run(); err != nil {
		return err
	}
	if s.life.world.storeIsDown(s.life) {
		return fmt.Errorf("%w: by a fault", storage.ErrUnavailable)
	}
	return nil
}

func (s *seam) Get(ctx context.Context, key storage.Key) (storage.Item, error) {
	if err := s.admit(); err != nil {
		return storage.Item{}, err
	}
	return s.life.world.mem.Get(ctx, key)
}

func (s *seam) List(ctx context.Context, q storage.Query) ([]storage.Item, error) {
	if err := s.admit(); err != nil {
		return nil, err
	}
	return s.life.world.mem.List(ctx, q)
}

func (s *seam) Events(ctx context.Context, id string, limit int) ([]storage.Entry, error) {
	if err := s.admit(); err != nil {
		return nil, err
	}
	return s.life.world.mem.Events(ctx, id, limit)
}

func (s *seam) Reseal(ctx context.Context, list []storage.Reseal) error {
	if err := s.admit(); err != nil {
		return err
	}
	return s.life.world.mem.Reseal(ctx, list)
}

func (s *seam) Health(ctx context.Context) error {
	if err := s.admit(); err != nil {
		return err
	}
	return s.life.world.mem.Health(ctx)
}

// Close leaves the store to the other replicas.
func (s *seam) Close() error { return nil }

func (s *seam) Swap(ctx context.Context, changes []storage.Change, entries []storage.Entry) error {
	if err := s.admit(); err != nil {
		return err
	}
	w := s.life.world
	f, at := w.faultOf(s.life, changes, entries)
	if err := s.before(f); err != nil {
		return err
	}
	s.life.passes(w.latency(s.life))
	if err := s.admit(); err != nil {
		return err
	}
	err := w.commit(ctx, s.life, changes, entries, f)
	if err != nil {
		return err
	}
	if at != "" && s.life.dead.Load() { // while it was being written
		return errPower
	}
	return s.after(f)
}

// before is what goes wrong before anything was written.
func (s *seam) before(f fault) error {
	w, l := s.life.world, s.life
	switch f.harm {
	case crashBefore:
		l.crash()
		return errPower
	case machineFails:
		l.crash()
		w.mem.Crash()
		return errPower
	case freezeBefore:
		l.freeze(f.d)
		return s.admit()
	case unknownLost:
		return fmt.Errorf("%w: by a fault", storage.ErrUnknown)
	case refused:
		return fmt.Errorf("%w: by a fault", storage.ErrUnavailable)
	case refusedOn:
		prolong(&l.storeDownUntil, f.d)
		return fmt.Errorf("%w: by a fault", storage.ErrUnavailable)
	}
	return nil
}

// after is what goes wrong once it is durable.
func (s *seam) after(f fault) error {
	switch f.harm {
	case crashAfter:
		s.life.crash()
		return errPower
	case freezeAfter:
		s.life.freeze(f.d)
		if err := s.life.run(); err != nil {
			return err
		}
	case unknownKept:
		return fmt.Errorf("%w: by a fault", storage.ErrUnknown)
	}
	return nil
}

// faultOf chooses what goes wrong with a swap; at is empty if it is no step of a rotation.
func (w *world) faultOf(l *life, changes []storage.Change, entries []storage.Entry) (f fault, at point) {
	w.mu.Lock()
	s, err := w.open(changes, entries)
	ok := err == nil && s != nil && s.grant != nil
	if ok {
		at, ok = s.point() // which looks at what others may be changing
	}
	w.mu.Unlock()
	if !ok {
		return fault{}, ""
	}
	f = w.pick(at, l, s.grant)
	if f.harm == unknownLost || f.harm == refused {
		w.mu.Lock()
		s.grant.unwrittenAt = time.Now()
		w.mu.Unlock()
	}
	return f, at
}

// commit writes, and looks at what has become durable by it.
func (w *world) commit(ctx context.Context, l *life, changes []storage.Change, entries []storage.Entry, f fault) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.open(changes, entries)
	if err != nil {
		w.fail(0, nil, "a broker stores a record that does not open: %v", err)
		return err
	}
	switch {
	case w.weather.lies && w.rough:
		w.mem.SetFault(func([]storage.Change) memstore.Fault { return memstore.Unsynced })
		defer w.mem.SetFault(nil)
	case f.harm == syncFails:
		w.mem.SetFault(func([]storage.Change) memstore.Fault { return memstore.UnknownLost })
		defer w.mem.SetFault(nil)
	}
	err = w.mem.Swap(ctx, changes, entries)
	if f.harm == syncFails && errors.Is(err, storage.ErrUnknown) {
		prolong(&w.brokenUntil, f.d)
		w.work.Go(func() { // the database restarts with what it had synced
			<-time.After(f.d)
			w.mem.Crash()
		})
	}
	if err != nil || s == nil {
		return err
	}
	if s.grant == nil {
		w.fail(0, nil, "a broker stores a grant %s that nobody asked for", s.next.Address)
		return nil
	}
	// What counts is what a crash at this moment would leave.
	kept, gerr := w.mem.Durable().Get(context.Background(), s.item.Key)
	if gerr == nil && kept.Version == s.item.Version && slices.Equal(kept.Sealed, s.item.Sealed) {
		w.observe(l, s)
	}
	return nil
}

// storeIsDown reports whether the store answers l at all.
func (w *world) storeIsDown(l *life) bool {
	now := time.Now().UnixNano()
	return now < l.storeDownUntil.Load() || now < w.storeDownUntil.Load()
}
