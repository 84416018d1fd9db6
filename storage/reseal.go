package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/storage/seal"
)

const (
	// resealPage is how many records are read at once, and resealBatch how many
	// are sealed anew in one commit, which others may have to wait for.
	resealPage  = 100
	resealBatch = 16
)

// sealedKinds are the records that the key ring seals.
var sealedKinds = []Kind{KindMeta, KindApp, KindConsent, KindGrant}

// ResealProgress is how far a pass has come.
type ResealProgress struct {
	// Seen counts records by now, Sealed those of them that the primary key
	// seals by now, with all of their journal.
	Seen, Sealed uint64
	// Took is how long the last step took.
	Took time.Duration
}

// ResealResult is what a pass came to.
type ResealResult struct {
	// Records in the store, and those of them that other keys seal still.
	Records, Left uint64
	// Done: the old keys are gone, the rotation has ended.
	Done bool
	// Why says, for people, what keeps the rotation from ending; empty: nothing
	// that another pass will not mend.
	Why string
}

// ResealPass goes through all that the key ring seals, seals anew what is under
// another key than the primary, and ends the rotation if there was nothing. It
// tells how far it is after each step, which may wait as long as it likes, so
// that others come first; an error of tell ends the pass. A pass may be broken
// off anywhere: the next one finds what is left. Without a rotation it is done
// at once. The errors are Swap's.
func (s *Store) ResealPass(ctx context.Context, tell func(ResealProgress) error) (ResealResult, error) {
	if err := s.rekeying.Acquire(ctx, 1); err != nil {
		return ResealResult{}, fmt.Errorf("waiting for another pass: %w", err)
	}
	defer s.rekeying.Release(1)
	if err := s.readRing(ctx); err != nil {
		return ResealResult{}, err
	}
	k := s.keys.Load()
	if k.ring.Keys() == 1 {
		return ResealResult{Done: true}, nil
	}
	p := &resealing{store: s, primary: k.primary, tell: tell, clean: k.quiet()}
	// What the last of those writers left behind, and what an ended context left
	// in a queue, is in the store before it is looked through.
	if err := s.backend.Reseal(ctx, nil); err != nil {
		return ResealResult{}, fmt.Errorf("sealing records anew: %w", err)
	}
	for _, kind := range sealedKinds {
		if err := p.kind(ctx, kind); err != nil {
			return p.result, fmt.Errorf("sealing records anew: %w", err)
		}
	}
	p.spill()
	p.result.Records = p.at.Seen
	p.result.Left = p.at.Seen - p.at.Sealed
	if !p.clean || p.found > 0 || p.result.Left > 0 || p.result.Why != "" {
		return p.result, nil
	}
	if err := s.endKeyRotation(ctx); err != nil {
		return p.result, err
	}
	p.result.Done = true
	return p.result, nil
}

// resealing is one pass.
type resealing struct {
	store   *Store
	primary seal.KeyID
	tell    func(ResealProgress) error
	at      ResealProgress
	result  ResealResult
	// clean: nobody could write by a former ring any more when the pass began.
	// found counts what was under another key: while there is any, another pass follows.
	clean bool
	found int
	// batch is what is to be replaced, of so many records.
	batch   []Reseal
	records int
}

func (p *resealing) kind(ctx context.Context, kind Kind) error {
	q := Query{Kind: kind, Limit: resealPage}
	for {
		started := time.Now()
		items, err := p.store.backend.List(ctx, q)
		if err != nil {
			return err
		}
		for _, it := range items {
			if err := p.record(ctx, it); err != nil {
				return err
			}
			if p.records == resealBatch {
				if started, err = p.step(ctx, started); err != nil {
					return err
				}
			}
		}
		if _, err := p.step(ctx, started); err != nil {
			return err
		}
		if len(items) < q.Limit {
			return nil
		}
		q.After = items[len(items)-1].Key.ID
	}
}

// step writes the batch and tells how far the pass is.
func (p *resealing) step(ctx context.Context, started time.Time) (time.Time, error) {
	if err := p.write(ctx); err != nil {
		return started, err
	}
	p.at.Took = time.Since(started)
	err := p.tell(p.at)
	return time.Now(), err
}

// record puts into the batch what is under another key of a record and its journal.
func (p *resealing) record(ctx context.Context, it Item) error {
	p.at.Seen++
	list, err := p.journal(ctx, it.Key)
	if err == nil {
		list, err = p.add(list, Reseal{Key: it.Key, Was: it.Sealed}, recordAD(it.Key, it.Version, it.Public))
	}
	if errors.Is(err, errStuck) {
		p.stuck(it, err)
		return nil
	}
	if err != nil {
		return err
	}
	if len(list) == 0 {
		p.at.Sealed++
		return nil
	}
	p.found += len(list)
	p.batch = append(p.batch, list...)
	p.records++
	return nil
}

func (p *resealing) journal(ctx context.Context, k Key) (list []Reseal, err error) {
	if k.Kind != KindGrant {
		return nil, nil
	}
	entries, err := p.store.backend.Events(ctx, k.ID, JournalLength)
	if errors.Is(err, ErrCorrupt) {
		return nil, fmt.Errorf("%w: %w", errStuck, err)
	}
	for _, e := range entries {
		if err == nil {
			list, err = p.add(list, Reseal{Key: k, Seq: e.Seq, Was: e.Sealed}, journalAD(k.ID))
		}
	}
	return list, err
}

// errStuck: something does not open, so that it can not be sealed anew either.
var errStuck = errors.New("it does not open")

// add completes r and appends it to list, unless the primary key seals it already.
func (p *resealing) add(list []Reseal, r Reseal, ad []byte) ([]Reseal, error) {
	if len(r.Was) > 1 && r.Was[0] == sealedFormat {
		if id, ok := seal.SealedBy(r.Was[1:]); ok && id == p.primary {
			return list, nil
		}
	}
	plain, err := p.store.openBytes(r.Was, ad)
	if err != nil {
		return nil, errStuck
	}
	if r.Now, err = p.store.sealBytes(plain, ad); err != nil {
		return nil, err
	}
	return append(list, r), nil
}

// stuck notes that the old keys must stay for a record that somebody may still mend.
func (p *resealing) stuck(it Item, cause error) {
	what := map[Kind]string{KindMeta: "the store's value", KindApp: "the record of app", KindConsent: "consent", KindGrant: "grant"}[it.Key.Kind]
	if p.result.Why == "" {
		p.result.Why = fmt.Sprintf("the old data keys are kept for what does not open and may still be mended: %s %s; "+
			"run holdfast restore with the newest backup, or remove the damaged record", what, it.Key.ID)
	}
	p.store.cfg.Log.Warn("a record can not be sealed anew", "kind", what, "id", it.Key.ID, "error", cause)
}

// write replaces the batch. What was changed meanwhile is left to the next pass.
func (p *resealing) write(ctx context.Context) error {
	batch, records := p.batch, p.records
	p.batch, p.records = nil, 0
	if len(batch) == 0 {
		return nil
	}
	defer p.store.sealing().Add(-1)
	err := p.store.backend.Reseal(ctx, batch)
	if err == nil {
		crashpoint.At(crashpoint.RekeyResealed)
		p.at.Sealed += uint64(records)
		return nil
	}
	if !errors.Is(err, ErrConflict) {
		return err
	}
	return p.writeEach(ctx, batch)
}

// writeEach replaces record by record, since one of them was changed.
func (p *resealing) writeEach(ctx context.Context, batch []Reseal) error {
	for len(batch) > 0 {
		n := 1
		for n < len(batch) && batch[n].Key == batch[0].Key {
			n++
		}
		err := p.store.backend.Reseal(ctx, batch[:n])
		switch {
		case err == nil:
			p.at.Sealed++
		case !errors.Is(err, ErrConflict):
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// spill looks at what is kept in the spill file. Those settlements are stored by
// themselves once the store takes them; until then their key stays.
func (p *resealing) spill() {
	if n := p.store.spill.under(p.primary); n > 0 && p.result.Why == "" {
		p.result.Why = fmt.Sprintf("the old data keys are kept for %d slots of the spill file that hold settlements, or do not open: "+
			"holdfast status and the log say what they wait for", n)
	}
}
