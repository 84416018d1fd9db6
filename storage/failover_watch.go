package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// watch beats and compares until the store is closed.
func (f *failover) watch(ctx context.Context) {
	defer close(f.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the watch
		select {
		case <-f.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	lost := false
	for {
		select {
		case <-f.stop:
			return
		case <-f.shifted:
			f.resolve(ctx)
		case <-beat.C:
			err := f.beat(ctx, lost)
			if err != nil && !lost && ctx.Err() == nil {
				f.s.cfg.Log.Warn("the store does not take this replica's sign of life; it is tried again", "error", err)
			}
			lost = err != nil
		}
	}
}

// beat notes that the replica is alive, and looks at what others have found. After
// an interruption the notes are compared, whatever history the database says it is in.
func (f *failover) beat(ctx context.Context, interrupted bool) error {
	ctx, cancel := context.WithTimeout(ctx, beatEvery)
	defer cancel()
	now, err := f.db.Origin(ctx)
	if err != nil {
		return err
	}
	if interrupted || now != f.trusted() {
		f.shift()
		return nil
	}
	told, err := f.s.metaOrNew(ctx, metaFinding)
	if err != nil {
		return err
	}
	f.s.setFinding(string(told.Value))
	return f.announce(ctx, now)
}

func (f *failover) trusted() Origin {
	i := f.log.Info()
	return Origin{i.System, i.Timeline}
}

// resolve looks into a fail-over until all is well, or the store is closed.
func (f *failover) resolve(ctx context.Context) {
	f.hold("the database has failed over, or was away, and this replica is comparing its fence log with it")
	began := time.Now()
	for said := false; ; {
		done, err := f.resolveOnce(ctx, began)
		if done {
			f.held.Store(nil)
			return
		}
		if err != nil && !said && ctx.Err() == nil {
			said = true
			f.s.cfg.Log.Error("comparing the fence log with the database failed; nothing is stored, and it is tried again", "error", err)
		}
		rest := time.NewTimer(failoverRest)
		select {
		case <-f.stop:
			rest.Stop()
			return
		case <-rest.C:
		}
	}
}

func (f *failover) resolveOnce(ctx context.Context, began time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	now, err := f.db.Origin(ctx)
	if err != nil {
		return false, err
	}
	if err := f.follow(ctx, now); err != nil {
		return false, err
	}
	waiting, err := f.awaited(ctx, now)
	if err != nil {
		return false, err
	}
	if len(waiting) == 0 {
		return true, nil
	}
	names := strings.Join(waiting, ", ")
	if time.Since(began) < compareWait {
		f.hold(fmt.Sprintf("the database has failed over, and %d other replicas have not compared their fence logs yet: %s", len(waiting), names))
		return false, nil
	}
	why := fmt.Sprintf("the database failed over to timeline %d and may have lost commits of replicas whose fence logs are missing: %s", now.Timeline, names)
	if err := f.quarantineWhole(ctx, why); err != nil {
		return false, err
	}
	for _, id := range waiting {
		if err := f.forget(ctx, id); err != nil {
			return false, err
		}
	}
	return true, nil
}

// follow goes on with the database as it is now: compares, and says so.
func (f *failover) follow(ctx context.Context, now Origin) error {
	if was := f.trusted(); was.System == now.System && now.Timeline < was.Timeline {
		return fmt.Errorf("%w: the database answers in timeline %d, and this replica has followed it to timeline %d: stop the old primary, which still takes writes; "+
			"if the database was put back to an older state on purpose, stop all replicas, move their files %s away, and decide about every grant with holdfast grants adopt or scrub",
			ErrUnavailable, now.Timeline, was.Timeline, FenceLogFile)
	}
	f.db.Trust(now, f.shift)
	found, err := f.compare(ctx, now)
	if err != nil {
		return err
	}
	if found.whole != "" {
		if err := f.quarantineWhole(ctx, found.whole); err != nil {
			return err
		}
	} else if err := f.mend(ctx, now, found.lost); err != nil {
		return err
	}
	f.followed.Add(1)
	return f.announce(ctx, now)
}

// quarantineWhole quarantines every grant of the store.
func (f *failover) quarantineWhole(ctx context.Context, why string) error {
	f.s.cfg.Log.Error("the whole store is quarantined until an operator decides with holdfast grants adopt or scrub", "finding", why)
	if err := f.s.changeHeader(func(h *header) { h.Finding = why }); err != nil {
		return fmt.Errorf("noting what was found about the store: %w", err)
	}
	f.s.setFinding(why)
	n, err := f.s.QuarantineAll(ctx)
	if err != nil {
		return err
	}
	f.counts.Whole.Add(1)
	f.s.cfg.Log.Error("grants were quarantined after a fail-over of the database", "grants", n)
	return nil
}

// tell records what was found, for operators of all replicas.
func (f *failover) tell(ctx context.Context, text string) error {
	for range 16 {
		m, err := f.s.metaOrNew(ctx, metaFinding)
		if err != nil {
			return err
		}
		if was := string(m.Value); was != "" && !strings.Contains(was, text) {
			text = was + "; " + text
		}
		if len(text) > mostFinding {
			text = text[:mostFinding] + " ..."
		}
		m.Value = []byte(text)
		if err = f.s.SwapMeta(ctx, &m); err == nil {
			f.s.setFinding(text)
			return nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			return err
		}
	}
	return fmt.Errorf("%w: the store's finding kept changing", ErrConflict)
}

// mostFinding bounds the text, in bytes, that replicas add to.
const mostFinding = 2000
