package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// Spill keeps what a spent token returned while the records cannot be written:
// a few sealed slots whose room was taken beforehand, so that a full disk does
// not stop a write into them. It is safe for concurrent use.
//
// A write replaces a slot's blocks in place and is synced. A file system that
// copies on write (Btrfs, ZFS, a snapshot of LVM or of a volume) needs new
// blocks for it all the same, so that there a full disk can stop it; Reserve
// notices only a disk that is full already. Such a store needs free space kept
// by a quota or a reservation, or a directory without copying (chattr +C).
//
// A backup does not hold the spill: what it keeps is of no use to another
// store, and a restored one begins with an empty spill.
type Spill struct {
	store *Store
	log   *slog.Logger
	files []SpillFile
	// places are all slots, whoever they belong to.
	places []place
	total  int
	// free holds the slots that hold nothing and are nobody's.
	free chan *Slot
	// held counts slots that hold something or do not open.
	held atomic.Int64
	// found are the slots that held something when the store was opened.
	found []*Slot

	mu      sync.Mutex
	damaged []error   // guarded by mu
	proven  time.Time // when a write was last synced; guarded by mu
}

// place of a slot.
type place struct {
	file SpillFile
	n    int
}

// Slot of a Spill. It belongs to whoever reserved or found it, until Clear.
type Slot struct {
	spill *Spill
	file  SpillFile
	n     int
	// written says that the slot may hold something on disk.
	written bool
	kept    Kept
}

// defaultSpillSlots bounds the tokens that are on their way at once.
const defaultSpillSlots = 64

// spillProvenFor is how long a synced write proves that the next one will do.
const spillProvenFor = time.Second

// openSpill reads the spill files and reports what does not open in them.
func (s *Store) openSpill(ctx context.Context) error {
	p := &Spill{store: s, log: s.cfg.Log}
	var err error
	if s.cfg.Spill != nil {
		p.files = []SpillFile{s.cfg.Spill}
	} else if p.files, err = claimSpill(s.cfg.Dir, s.cfg.SpillSlots); err != nil {
		return err
	}
	var slots []*Slot
	for _, f := range p.files {
		of, err := p.layOut(f)
		if err != nil {
			return errors.Join(fmt.Errorf("reading the spill file: %w", err), closeSpill(p.files))
		}
		slots = append(slots, of...)
	}
	if missing := s.cfg.SpillSlots - len(slots); missing > 0 && s.cfg.Spill == nil {
		slots = append(slots, p.grow(missing)...)
	}
	p.total = len(slots)
	p.free = make(chan *Slot, len(slots))
	for _, sl := range slots {
		p.places = append(p.places, place{sl.file, sl.n})
		if err := ctx.Err(); err != nil {
			return errors.Join(fmt.Errorf("reading the spill file: %w", err), closeSpill(p.files))
		}
		p.take(sl)
	}
	s.spill = p
	return nil
}

// layOut returns the slots of a file, which it makes if the file is empty.
func (p *Spill) layOut(f SpillFile) ([]*Slot, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	n := int(size / SlotSize)
	if size%SlotSize != 0 {
		p.damage(n, errTornSlot)
	}
	if size == 0 {
		n = p.store.cfg.SpillSlots
	}
	var slots []*Slot
	for i := range n {
		slots = append(slots, &Slot{spill: p, file: f, n: i})
	}
	if size == 0 {
		for _, sl := range slots {
			if err := sl.write(nil); err != nil {
				return nil, err
			}
		}
	}
	return slots, nil
}

// grow adds a file for slots that the configuration has come to want. A disk that
// has no room for it must not keep the store from being opened.
func (p *Spill) grow(slots int) []*Slot {
	f, err := addSpillFile(p.store.cfg.Dir, slots)
	if err != nil {
		p.log.Warn("the spill file could not be made larger, so fewer tokens are spent at once than is configured; the next start tries it again",
			"missing_slots", slots, "bytes", slots*SlotSize, "error", err)
		return nil
	}
	p.files = append(p.files, f)
	of, err := p.layOut(f)
	if err != nil {
		p.log.Warn("reading a new spill file failed; the next start tries it again", "error", err)
	}
	return of
}

// take finds out what a slot holds.
func (p *Spill) take(sl *Slot) {
	held, err := sl.read()
	switch {
	case err != nil:
		p.held.Add(1)
		p.damage(sl.n, err)
	case held:
		p.held.Add(1)
		p.found = append(p.found, sl)
	default:
		p.free <- sl
	}
}

func (p *Spill) damage(slot int, cause error) {
	err := fmt.Errorf("%w: slot %d of the spill file does not open: %w; it is left as it is; once no settlement waits any more, "+
		"stop Holdfast and move the file %q out of the store's directory, and the next start makes a new one", ErrCorrupt, slot, cause, SpillName)
	p.log.Error("a settlement may be lost in the spill file", "error", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.damaged = append(p.damaged, err)
}

// Damaged says of each slot that did not open why, in order of the slots. Such
// a slot is never written to.
func (p *Spill) Damaged() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]error(nil), p.damaged...)
}

// Found returns the slots that held something when the store was opened. The
// first caller owns them; a later one gets none.
func (p *Spill) Found() []*Slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.found
	p.found = nil
	return found
}

// Reserve takes a free slot and proves that it can be written: that the key
// ring seals and opens, and that a write to the file was synced within the last
// second. It waits for a slot, until ctx ends, unless none can come back. An
// error is ErrUnavailable and says why; then spend nothing.
func (p *Spill) Reserve(ctx context.Context) (*Slot, error) {
	held := p.held.Load()
	if held >= int64(p.total) {
		return nil, fmt.Errorf("%w: all %d slots of the spill file hold settlements that wait to be stored, or do not open "+
			"(holdfast status and the log say which): give the store room or repair it", ErrUnavailable, p.total)
	}
	var sl *Slot
	select {
	case sl = <-p.free:
	default:
		select {
		case sl = <-p.free:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: waiting for one of the %d slots of the spill file, of which %d hold settlements that wait to be stored: %w",
				ErrUnavailable, p.total, held, ctx.Err())
		}
	}
	if err := p.prove(sl); err != nil {
		p.free <- sl
		return nil, fmt.Errorf("%w: writing to the spill file: %w", ErrUnavailable, err)
	}
	return sl, nil
}

func (p *Spill) prove(sl *Slot) error {
	ad := p.store.spillAD(sl.n)
	sealed, err := p.store.seal(&storagev1.SpillEntry{}, ad)
	if err == nil {
		err = p.store.open(sealed, ad, &storagev1.SpillEntry{})
	}
	if err != nil {
		return fmt.Errorf("the key ring: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); !p.proven.IsZero() && now.Sub(p.proven) < spillProvenFor {
		return nil
	}
	if err := sl.write(nil); err != nil {
		return err
	}
	p.proven = time.Now()
	return nil
}

// Keep writes k into the slot, in place of what it held. Nil means durable. It
// may be called again after an error.
func (sl *Slot) Keep(k Kept) error {
	defer sl.spill.store.sealing().Add(-1)
	sealed, err := sl.spill.store.seal(toSpill(&k), sl.spill.store.spillAD(sl.n))
	if err != nil {
		return fmt.Errorf("keeping a settlement in the spill file: %w", err)
	}
	if !sl.written {
		sl.written = true // from now on Clear has something to do, even if this fails
		sl.spill.held.Add(1)
	}
	if err := sl.write(sealed); err != nil {
		return fmt.Errorf("keeping a settlement in the spill file: %w", err)
	}
	sl.kept = k
	return nil
}

// Kept is what the slot holds; the zero value: nothing.
func (sl *Slot) Kept() Kept { return sl.kept }

// Clear empties the slot durably and gives it back: the caller must not use it
// any more. After an error the slot is as it was and still the caller's.
func (sl *Slot) Clear() error {
	if sl.written {
		if err := sl.write(nil); err != nil {
			return fmt.Errorf("clearing a slot of the spill file: %w", err)
		}
		sl.written, sl.kept = false, Kept{}
		sl.spill.held.Add(-1)
	}
	sl.spill.free <- sl
	return nil
}

// write makes sealed, or nothing, the slot's content. A sync that failed may
// have dropped what it should have written, so that only a new write counts.
func (sl *Slot) write(sealed []byte) error {
	b, err := encodeSlot(sealed)
	if err != nil {
		return err
	}
	if _, err := sl.file.WriteAt(b, int64(sl.n)*SlotSize); err != nil {
		return err
	}
	return sl.file.Sync()
}

// read fills in what the slot holds; false: nothing.
func (sl *Slot) read() (bool, error) {
	b := make([]byte, slotHeader)
	if _, err := sl.file.ReadAt(b, int64(sl.n)*SlotSize); err != nil {
		return false, err
	}
	if sealed, err := parseSlot(b); err == nil && sealed == nil {
		return false, nil // as nearly all of them: the filler is not read
	}
	b = make([]byte, SlotSize)
	if _, err := sl.file.ReadAt(b, int64(sl.n)*SlotSize); err != nil {
		return false, err
	}
	sealed, err := parseSlot(b)
	if err != nil {
		return false, err
	}
	s := sl.spill.store
	var x storagev1.SpillEntry
	if err := s.open(sealed, s.spillAD(sl.n), &x); err != nil {
		return false, fmt.Errorf("it was sealed by another store or key, or changed: %w", err)
	}
	sl.kept, sl.written = fromSpill(&x), true
	return true, nil
}

// under counts the slots that hold something that is not under the given key, or
// whose key can not be told. It may be called beside every other use.
func (p *Spill) under(primary seal.KeyID) int {
	if p == nil || p.held.Load() == 0 {
		return 0
	}
	n := 0
	for _, at := range p.places {
		b := make([]byte, slotHeader+6)
		if _, err := at.file.ReadAt(b, int64(at.n)*SlotSize); err != nil {
			n++
			continue
		}
		if _, err := parseSlot(b); bytes.Equal(b[:len(slotMagic)], slotMagic) && err == nil {
			continue // it holds nothing
		}
		if id, ok := seal.SealedBy(b[slotHeader+1:]); !ok || b[slotHeader] != sealedFormat || id != primary {
			n++
		}
	}
	return n
}
