package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/broker/family"
	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
)

// JournalLength is how many of a grant's newest journal entries are kept.
const JournalLength = 64

// Events returns the newest n (at most JournalLength; 0 means all) journal
// entries of a grant, newest first. A grant without any has none: no error.
func (s *Store) Events(ctx context.Context, grantID string, n int) ([]family.Event, error) {
	if n <= 0 || n > JournalLength {
		n = JournalLength
	}
	entries, err := s.backend.Events(ctx, grantID, n)
	if err != nil {
		return nil, fmt.Errorf("reading the journal of grant %s: %w", grantID, err)
	}
	var out []family.Event
	newer := ^uint64(0)
	for _, sealed := range entries {
		e, err := s.openEntry(grantID, sealed)
		if err != nil {
			return nil, err
		}
		if e.GetGrantVersion() > newer {
			return nil, corrupt("the journal of grant "+grantID, errors.New("its entries are out of order"))
		}
		newer = e.GetGrantVersion()
		out = append(out, family.Event{
			Type: family.EventType(e.GetType()), At: fromTime(e.GetAt()), Generation: e.GetGeneration(),
			Fence: e.GetFence(), AttemptID: e.GetAttemptId(), Detail: e.GetDetail(),
		})
	}
	return out, nil
}

func (s *Store) openEntry(grantID string, sealed Entry) (*storagev1.JournalEntry, error) {
	var e storagev1.JournalEntry
	if err := s.open(sealed.Sealed, journalAD(grantID), &e); err != nil {
		return nil, corrupt(fmt.Sprintf("journal entry %d of grant %s", sealed.Seq, grantID), err)
	}
	return &e, nil
}

func (s *Store) sealEvents(g *Grant, events []family.Event) ([]Entry, error) {
	var out []Entry
	for _, e := range events {
		sealed, err := s.seal(&storagev1.JournalEntry{
			Type: string(e.Type), At: toTime(e.At), Generation: e.Generation, Fence: e.Fence,
			AttemptId: e.AttemptID, Detail: e.Detail,
			GrantFence: g.State.Fence, GrantVersion: uint64(g.next()),
		}, journalAD(g.ID))
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{GrantID: g.ID, Sealed: sealed})
	}
	return out, nil
}
