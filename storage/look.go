package storage

import (
	"context"
	"fmt"
	"time"
)

// Glance is what can be said of a store without opening it.
type Glance struct {
	StoreID string
	// Witness says, for people, what the store's witness last vouched for.
	Witness string
	// Finding says what is wrong with the witness; empty: nothing that shows
	// from outside. Whether the store is at the state that the witness saw is
	// compared when it is opened.
	Finding string
}

// Look unlocks the header of the store in cfg.Dir and reads its witness. It
// changes nothing and may be called beside the process that owns the store.
// os.ErrNotExist: there is no store; any other error says why it would not open.
func Look(ctx context.Context, cfg Config) (Glance, error) {
	if err := cfg.complete(); err != nil {
		return Glance{}, err
	}
	if err := cfg.connect(ctx, true); err != nil {
		return Glance{}, err
	}
	defer func() { _ = cfg.release() }()
	h, err := readHeader(ctx, &cfg)
	if err != nil {
		return Glance{}, err
	}
	root, err := h.unlock(ctx, cfg.headerName(), &cfg)
	if err == nil {
		err = h.mayOpen(cfg.headerName())
	}
	if err != nil {
		return Glance{}, err
	}
	s := &Store{cfg: cfg, root: root}
	s.header.Store(&h)
	seen := Glance{StoreID: h.StoreID, Finding: h.pending()}
	if cfg.WitnessFile == "" {
		seen.Witness = "none is kept"
		return seen, nil
	}
	w, state, err := s.readWitness()
	if err != nil {
		return seen, err
	}
	switch state {
	case witnessMissing:
		if cfg.Database != nil {
			seen.Witness = "none yet: this is a new replica, or one on a new machine"
			break
		}
		seen.Finding = fmt.Sprintf("%s is missing: if this store had one, it was moved or copied here", cfg.WitnessFile)
	case witnessForeign:
		seen.Finding = fmt.Sprintf("%s is the witness of another store", cfg.WitnessFile)
	case witnessDamaged:
		seen.Finding = fmt.Sprintf("%s is damaged", cfg.WitnessFile)
	default:
		seen.Witness = fmt.Sprintf("start %d, seen %s; whether grants are quarantined says holdfast status", w.Epoch, w.WrittenAt.Local().Format(time.DateTime))
	}
	return seen, nil
}
