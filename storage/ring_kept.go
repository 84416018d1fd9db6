package storage

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// RingsFile is the name, in a replica's directory, of the key rings that may have
// sealed what waits in its spill file: another replica of a shared store may end
// a rotation, and remove keys, while this one is down. They lie there as in the
// store, sealed by the root key, oldest first.
const RingsFile = "rings"

type keptRing struct {
	Version Version `json:"version"`
	Public  []byte  `json:"public"`
	Sealed  []byte  `json:"sealed"`
}

// keptForever is until when a kept ring opens: as long as this process lives.
const keptForever = 100 * 365 * 24 * time.Hour

func (s *Store) ringsFile() string { return filepath.Join(s.cfg.Dir, RingsFile) }

// keepRing writes a ring down before anything is sealed by it.
func (s *Store) keepRing(it Item) error {
	if s.cfg.Database == nil || s.cfg.Spill != nil {
		return nil // it is this process alone that changes the ring, or there is no file
	}
	kept := s.keptRings()
	for _, k := range kept {
		if k.Version == it.Version {
			return nil
		}
	}
	return s.writeRings(append(kept, keptRing{it.Version, it.Public, it.Sealed}))
}

func (s *Store) writeRings(kept []keptRing) error {
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return durable.WriteFile(s.ringsFile(), append(b, '\n'))
}

// keptRings are those of the file; a damaged one is as good as none, and slots
// that do not open for it are said to be damaged.
func (s *Store) keptRings() (kept []keptRing) {
	b, err := os.ReadFile(s.ringsFile())
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.cfg.Log.Error("former key rings of this replica can not be read: what they sealed in its spill file does not open", "file", s.ringsFile(), "error", err)
	}
	return kept
}

// openKept adds the kept rings to those that open what a former key sealed.
func (s *Store) openKept() {
	if s.cfg.Database == nil || s.cfg.Spill != nil {
		return
	}
	now := *s.keys.Load()
	var formers []formerRing
	for _, k := range s.keptRings() {
		if k.Version == now.version {
			continue
		}
		former, err := s.parseRing(Item{Key: ringKey, Version: k.Version, Public: k.Public, Sealed: k.Sealed})
		if err != nil {
			s.cfg.Log.Error("a former key ring of this replica does not open", "file", s.ringsFile(), "error", err)
			continue
		}
		formers = append(formers, formerRing{former.ring, s.cfg.Now().Add(keptForever), former.writers})
	}
	now.formers = append(formers, now.formers...)
	s.keys.Store(&now)
}

// dropKept forgets former rings once nothing of theirs waits in the spill.
func (s *Store) dropKept() {
	if s.cfg.Database == nil || s.cfg.Spill != nil || s.spill.held.Load() > 0 {
		return
	}
	kept := s.keptRings()
	if len(kept) < 2 {
		return
	}
	if err := s.writeRings(kept[len(kept)-1:]); err != nil {
		s.cfg.Log.Warn("former key rings of this replica are kept for another while", "error", err)
	}
}
