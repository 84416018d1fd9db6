package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage/fencelog"
)

// versionsAtOnce bounds the keys of one question.
const versionsAtOnce = 1000

// difference is what a comparison found.
type difference struct {
	// lost are grants whose noted version is above the stored one.
	lost []fencelog.Note
	// whole is why nothing can be said about any grant; empty: it can.
	whole string
}

// compare compares all notes with the database. Notes older than what a fail-over
// can lose are true as well, and the database is asked about those too.
func (f *failover) compare(ctx context.Context, now Origin) (d difference, err error) {
	info := f.log.Info()
	other := info.System != "" && (Origin{info.System, info.Timeline}) != now
	if other {
		f.s.cfg.Log.Warn("the database goes on in another history: comparing this replica's fence log with it",
			"was_timeline", info.Timeline, "timeline", now.Timeline, "same_database", info.System == now.System)
	}
	if other && info.Torn {
		d.whole = fmt.Sprintf("the database failed over to timeline %d, and the fence log of replica %s lacks its newest notes, since its machine died", now.Timeline, info.Replica)
		return d, nil
	}
	newest, since, err := f.log.Newest()
	if err != nil {
		return d, err
	}
	if other && !since.IsZero() {
		if covered, err := f.covered(ctx, since); err != nil {
			return d, err
		} else if !covered {
			d.whole = fmt.Sprintf("the database failed over to timeline %d and lost more than the fence log of replica %s keeps, which begins at %s",
				now.Timeline, info.Replica, since.Format(time.RFC3339))
			return d, nil
		}
	}
	ids := slices.Sorted(maps.Keys(newest))
	for part := range slices.Chunk(ids, versionsAtOnce) {
		stored, err := f.versions(ctx, part)
		if err != nil {
			return d, err
		}
		for i, id := range part {
			// One that is not there was purged, or never told of to anybody but its consent.
			if note := newest[id]; stored[i] > 0 && uint64(stored[i]) < note.Version {
				d.lost = append(d.lost, note)
			}
		}
	}
	return d, nil
}

func (f *failover) versions(ctx context.Context, ids []string) ([]Version, error) {
	shared, ok := f.s.backend.(Shared)
	if !ok {
		return nil, errNotShared
	}
	keys := make([]Key, len(ids))
	for i, id := range ids {
		keys[i] = Key{KindGrant, id}
	}
	versions, _, err := shared.Versions(ctx, keys)
	return versions, err
}

// covered reports whether the notes since then hold all that was lost: a sign of
// life of this replica that came later than that is still in the database.
func (f *failover) covered(ctx context.Context, since time.Time) (bool, error) {
	r, _, err := f.record(ctx, f.log.Info().Replica)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return r.Beat.After(since), err
}

// mend restores or quarantines what was lost.
func (f *failover) mend(ctx context.Context, now Origin, lost []fencelog.Note) error {
	if len(lost) == 0 {
		return nil
	}
	quarantined := 0
	for _, note := range lost {
		restored, err := f.mendOne(pass(ctx), note)
		if err != nil {
			return fmt.Errorf("mending grant %s, whose newest commits the database lost: %w", note.Grant, err)
		}
		if restored {
			f.counts.Restored.Add(1)
		} else {
			f.counts.Quarantined.Add(1)
			quarantined++
		}
	}
	if quarantined == 0 {
		return nil
	}
	return f.tell(ctx, fmt.Sprintf("the database failed over to timeline %d without its newest commits: %d grants are quarantined for it", now.Timeline, quarantined))
}

// mendOne brings a grant up to the version that was noted: with the state that it
// had there, if this process has it in memory, else quarantined. Nobody else may
// change it meanwhile, but that another replica mends it, too.
func (f *failover) mendOne(ctx context.Context, note fencelog.Note) (restored bool, err error) {
	for {
		g, err := f.s.Grant(ctx, note.Grant)
		if errors.Is(err, ErrCorrupt) {
			return false, nil // it can not be spent either
		}
		if err != nil || uint64(g.Version) >= note.Version {
			return restored, err
		}
		var events []family.Event
		if have, ok := f.inMemory(note); ok {
			have.Version = g.Version
			g, restored = have, true
			if uint64(g.Version)+1 == note.Version {
				events = []family.Event{{Type: family.EventRestored, At: f.s.cfg.Now(), Generation: g.State.Generation, Fence: g.State.Fence, Detail: "failover"}}
			}
		} else {
			g.State, events = family.Quarantine(g.State, f.s.cfg.Now(), "the database failed over and lost this grant's newest commits")
			if len(events) > 0 {
				g.Due = time.Time{}
			}
		}
		err = f.s.Swap(ctx, Update{Grant: &g, Events: events})
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			return false, err
		}
		if uint64(g.Version) == note.Version {
			f.s.cfg.Log.Error("a fail-over of the database lost commits of a grant", "grant", g.Address.String(), "id", g.ID,
				"phase", g.State.Phase.String(), "restored_from_memory", restored, "noted_fence", note.Fence)
			return restored, nil
		}
	}
}

// inMemory returns the grant as it was when it was noted.
func (f *failover) inMemory(note fencelog.Note) (Grant, bool) {
	ask := f.atHand.Load()
	if ask == nil {
		return Grant{}, false
	}
	g, ok := (*ask)(note.Grant)
	return g, ok && uint64(g.Version) == note.Version && g.State.Fence == note.Fence
}
