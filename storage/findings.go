package storage

import (
	"context"
	"fmt"
	"time"
)

// A finding says that a store may be a copy, or older than what was spent. It
// goes this way, each step durable before the next:
//
//	header        the grants are to be quarantined, and why
//	witness       replaced: from now on it vouches for this store
//	grants        quarantined by QuarantineAll
//	metaFinding   what was found, for operators
//	header        cleared
//
// After a crash the header still says what is to be done. The finding itself
// stays until an operator has decided about every grant (ClearFinding).

// metaFinding holds the finding while grants are quarantined for it.
const metaFinding = "finding"

// Finding says what was found at a start: that the store is a copy, a restored
// backup or rolled back. Empty: nothing, or an operator has decided since.
func (s *Store) Finding() string {
	if f := s.finding.Load(); f != nil {
		return *f
	}
	return ""
}

func (s *Store) setFinding(text string) { s.finding.Store(&text) }

// MustQuarantine reports that grants are to be quarantined for the finding:
// spend nothing before QuarantineAll has returned nil.
func (s *Store) MustQuarantine() bool { return s.header.Load().pending() != "" }

// pending is the finding for which the grants are not all quarantined yet.
func (h *header) pending() string {
	switch {
	case h.Finding != "":
		return h.Finding
	case !h.RestoredAt.IsZero():
		return "restored from a backup at " + h.RestoredAt.UTC().Format(time.RFC3339)
	}
	return ""
}

// find compares the store with its witness before either is changed.
func (s *Store) find(ctx context.Context, p past) error {
	told, err := s.metaOrNew(ctx, metaFinding)
	if err != nil {
		return err
	}
	if len(told.Value) > 0 {
		s.setFinding(string(told.Value))
	}
	text := s.header.Load().pending()
	if text == "" && s.cfg.WitnessFile != "" {
		w, state, err := s.readWitness()
		if err != nil {
			return err
		}
		if s.cfg.Database == nil {
			text = compare(w, state, &p)
		} else if text, err = compareShared(w, state, &p, s.cfg.WitnessFile); err != nil {
			return err
		}
		if text != "" {
			if err := s.changeHeader(func(h *header) { h.Finding = text }); err != nil {
				return fmt.Errorf("noting what was found about the store: %w", err)
			}
		}
	}
	if text == "" {
		return nil
	}
	s.setFinding(text)
	s.cfg.Log.Error("the store may be a copy or out of date: its grants are quarantined until an operator decides with holdfast grants adopt or scrub",
		"finding", text, "store", s.cfg.Place(), "witness", s.cfg.WitnessFile)
	return nil
}

// compare returns what the witness says against the store; empty: nothing.
func compare(w witness, state witnessState, p *past) string {
	number, start := p.number(), string(p.start.Value)
	switch {
	case state == witnessGenuine:
		return compareStarts(&w, number, start, p.sequence)
	case number == 0:
		return "" // a new store: whatever lies there is not about it
	case state == witnessForeign:
		return fmt.Sprintf("another store was put here, or this one was copied: the witness is of store %.64s", w.StoreID)
	case state == witnessDamaged:
		return "nothing vouches for the store: its witness is damaged or was edited"
	case start == "":
		return "" // a store of a Holdfast that kept no witness
	}
	return fmt.Sprintf("moved or copied: the store was started %d times, and there is no witness of it", number)
}

func compareStarts(w *witness, number uint64, start string, sequence uint64) string {
	confirmed := number == w.Epoch && start == w.Start
	announced := number == w.Epoch+1 && start == w.Next && w.Next != ""
	switch {
	case (confirmed || announced) && sequence >= w.Sequence:
		return ""
	case confirmed || announced:
		return fmt.Sprintf("rolled back or restored from a snapshot: the store ends at commit %d, and its witness saw commit %d", sequence, w.Sequence)
	case number < w.Epoch:
		return fmt.Sprintf("rolled back or restored from a snapshot: the store is at start %d, and its witness saw start %d", number, w.Epoch)
	case number > w.Epoch:
		return fmt.Sprintf("started elsewhere with another witness, or with none: the store is at start %d, and its witness saw start %d", number, w.Epoch)
	}
	return fmt.Sprintf("started elsewhere with another witness: the store's start %d is not the one that its witness saw", number)
}

// told records that all grants are quarantined for the finding.
func (s *Store) told(ctx context.Context) error {
	m, err := s.metaOrNew(ctx, metaFinding)
	if err != nil {
		return err
	}
	if text := s.Finding(); string(m.Value) != text {
		m.Value = []byte(text)
		if err := s.SwapMeta(ctx, &m); err != nil {
			return err
		}
	}
	return s.changeHeader(func(h *header) { h.Finding, h.RestoredAt = "", time.Time{} })
}

// ClearFinding forgets the finding: an operator has decided about every grant.
// The errors are Swap's; without a finding nothing is done.
func (s *Store) ClearFinding(ctx context.Context) error {
	if s.MustQuarantine() {
		return fmt.Errorf("%w: not all grants are quarantined yet; nothing was changed", ErrConflict)
	}
	m, err := s.metaOrNew(ctx, metaFinding)
	if err != nil {
		return err
	}
	if len(m.Value) > 0 {
		m.Value = nil
		if err := s.SwapMeta(ctx, &m); err != nil {
			return err
		}
	}
	s.setFinding("")
	return nil
}

// WitnessInfo is what a witness file says, for people: it is not authenticated.
type WitnessInfo struct {
	StoreID         string
	Epoch, Sequence uint64
	WrittenAt       time.Time
}

// ParseWitness decodes the content of a witness file without the store's key.
func ParseWitness(b []byte) (WitnessInfo, error) {
	w := parseWitness(b)
	if w.Format < 1 {
		return WitnessInfo{}, fmt.Errorf("%w: this is no witness", ErrCorrupt)
	}
	return WitnessInfo{StoreID: w.StoreID, Epoch: w.Epoch, Sequence: w.Sequence, WrittenAt: w.WrittenAt}, nil
}
