package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// metaReplica begins the names of the records by which replicas know each other.
const metaReplica = "replica/"

// replicaRecord is what a replica says of itself, as JSON in a Meta.
type replicaRecord struct {
	// Beat is when it last said so, by the store's clock.
	Beat time.Time `json:"beat"`
	// System and Timeline are the history that it has compared its log with.
	System   string `json:"system"`
	Timeline uint64 `json:"timeline"`
	// Replicated: its commits were on a standby before they were acknowledged.
	Replicated bool `json:"replicated"`
}

func (f *failover) record(ctx context.Context, id string) (r replicaRecord, m Meta, err error) {
	if m, err = f.s.Meta(ctx, metaReplica+id); err != nil {
		return r, Meta{Name: metaReplica + id}, err
	}
	if err := json.Unmarshal(m.Value, &r); err != nil {
		return r, m, corrupt("the record of replica "+id, errors.New("it is no record of a replica"))
	}
	return r, m, nil
}

// announce says that this replica is alive and has compared its log with that history.
func (f *failover) announce(ctx context.Context, o Origin) error {
	replicated, err := f.db.Replicated(ctx)
	if err != nil {
		return err
	}
	f.warn(replicated)
	now, err := f.clock(ctx)
	if err != nil {
		return err
	}
	info := f.log.Info()
	_, m, err := f.record(ctx, info.Replica)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if m.Value, err = json.Marshal(replicaRecord{Beat: now, System: o.System, Timeline: o.Timeline, Replicated: replicated}); err != nil {
		return err
	}
	if err := f.s.SwapMeta(ctx, &m); err != nil {
		return fmt.Errorf("noting this replica in the store: %w", err)
	}
	info.System, info.Timeline, info.Beat, info.Torn = o.System, o.Timeline, now, false
	return f.log.SetInfo(info)
}

// warn says once, and again after it was otherwise, that commits wait for no standby.
func (f *failover) warn(replicated bool) {
	if f.warned.Swap(!replicated) || replicated {
		return
	}
	f.s.cfg.Log.Warn("the database acknowledges commits before a standby has them: if it fails over, grants are quarantined, or with its disk all tokens are lost; " +
		"holdfast doctor says what to do")
}

func (f *failover) clock(ctx context.Context) (time.Time, error) {
	shared, ok := f.s.backend.(Shared)
	if !ok {
		return time.Time{}, errNotShared
	}
	return shared.Now(ctx)
}

// awaited are the ids of replicas that have not compared their logs with the
// history yet and may have lost commits by it. Records that are too old to matter go.
func (f *failover) awaited(ctx context.Context, o Origin) (waiting []string, err error) {
	now, err := f.clock(ctx)
	if err != nil {
		return nil, err
	}
	q := Query{Kind: KindMeta, After: metaReplica, Limit: maxPage}
	items, err := f.s.backend.List(ctx, q) // one page: there are not a thousand replicas
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		id, ours := strings.CutPrefix(it.Key.ID, metaReplica)
		if !ours {
			break
		}
		r, _, err := f.record(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		case r.System == o.System && r.Timeline == o.Timeline:
		case now.Sub(r.Beat) > 2*f.leeway()+beatEvery:
			if err := f.forget(ctx, id); err != nil {
				return nil, err
			}
		case !r.Replicated:
			waiting = append(waiting, id)
		}
	}
	return waiting, nil
}

func (f *failover) leeway() time.Duration {
	if f.s.cfg.Leeway > 0 {
		return f.s.cfg.Leeway
	}
	return defaultLeeway
}

// retire takes this replica's record away.
func (f *failover) retire(ctx context.Context) error { return f.forget(ctx, f.log.Info().Replica) }

// forget deletes a replica's record, if it is there.
func (f *failover) forget(ctx context.Context, id string) error {
	it, err := f.s.backend.Get(ctx, Key{KindMeta, metaReplica + id})
	if err == nil {
		err = f.s.backend.Swap(ctx, []Change{{Old: it.Version, Item: Item{Key: it.Key}, Delete: true}}, nil)
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("deleting the record of replica %s: %w", id, err)
	}
	return nil
}
