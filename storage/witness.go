package storage

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/storage/durable"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// A store can be copied, moved or put back to an older state as a whole, and
// nothing inside it changes thereby. So it keeps a witness outside of its
// directory: a small file that says which start of which store was the newest,
// and how many commits it had seen. At each start the two are compared. A
// difference is a finding (findings.go): the store starts quarantined.
//
// A start is announced in the witness, counted in the store, and confirmed in
// the witness. A crash in between leaves a store that is at the one start or at
// the other, and the witness knows both. Each start has a random id beside its
// number, so that two stores that were started equally often differ.

// witnessFormat is the newest format of a witness that this program knows.
const witnessFormat = 1

// witness is the file's content. All of it but the MAC is authenticated by the
// MAC, whose key comes from the store's root key.
type witness struct {
	Format  int    `json:"format"`
	StoreID string `json:"store_id"`
	// Epoch and Start are number and id of the newest start that was confirmed;
	// Start is empty for one that a Holdfast without witnesses made.
	Epoch uint64 `json:"epoch"`
	Start string `json:"start"`
	// Next is the id of the start that was announced after it, if any.
	Next string `json:"next_start,omitempty"`
	// Sequence is the backend's number of the newest commit.
	Sequence uint64 `json:"sequence"`
	// Origin is the history of the database that Sequence is of; empty: of none.
	Origin    string    `json:"origin,omitempty"`
	WrittenAt time.Time `json:"written_at"`
	MAC       []byte    `json:"mac"`
}

func (w *witness) mac(root []byte) ([]byte, error) {
	key, err := seal.Derive(root, seal.ForWitness)
	if err != nil {
		return nil, err
	}
	b := appendBytes(nil, []byte("holdfast witness"))
	b = binary.BigEndian.AppendUint32(b, uint32(w.Format))
	for _, s := range []string{w.StoreID, w.Start, w.Next, w.WrittenAt.UTC().Format(time.RFC3339Nano)} {
		b = appendBytes(b, []byte(s))
	}
	b = binary.BigEndian.AppendUint64(b, w.Epoch)
	b = binary.BigEndian.AppendUint64(b, w.Sequence)
	if w.Origin != "" { // absent from what a store in a directory has
		b = appendBytes(b, []byte(w.Origin))
	}
	m := hmac.New(sha256.New, key)
	m.Write(b)
	return m.Sum(nil), nil
}

// witnessState is what reading the witness file came to.
type witnessState int

const (
	witnessMissing witnessState = iota
	witnessForeign              // of another store; what else it says is not authentic
	witnessDamaged
	witnessGenuine
)

// readWitness reads the file and judges it. An error means that it could not be
// read, or that only a newer program can.
func (s *Store) readWitness() (w witness, state witnessState, err error) {
	b, err := os.ReadFile(s.cfg.WitnessFile)
	if errors.Is(err, os.ErrNotExist) {
		return w, witnessMissing, nil
	}
	if err != nil {
		return w, 0, fmt.Errorf("reading the store's witness: %w; make it readable, or correct store.witness_file; nothing was changed", err)
	}
	if w = parseWitness(b); w.Format < 1 {
		return w, witnessDamaged, nil
	}
	if w.Format > witnessFormat {
		return w, 0, fmt.Errorf("the store's witness %s has format %d and this program knows up to %d: start the newer Holdfast that wrote it; nothing was changed",
			s.cfg.WitnessFile, w.Format, witnessFormat)
	}
	if w.StoreID != s.StoreID() {
		return w, witnessForeign, nil
	}
	want, err := w.mac(s.root)
	if err != nil {
		return w, 0, err
	}
	if !hmac.Equal(want, w.MAC) {
		return w, witnessDamaged, nil
	}
	return w, witnessGenuine, nil
}

// parseWitness returns a witness of format 0 for what is none.
func parseWitness(b []byte) (w witness) {
	if json.Unmarshal(b, &w) != nil {
		w.Format = 0
	}
	return w
}

// writeWitness replaces the file and remembers what it wrote.
func (s *Store) writeWitness(w witness) error {
	w.Format, w.StoreID, w.WrittenAt = witnessFormat, s.StoreID(), s.cfg.Now().UTC()
	var err error
	if w.MAC, err = w.mac(s.root); err != nil {
		return err
	}
	b, err := json.MarshalIndent(&w, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	s.keeper.tried = b
	if err := durable.WriteFile(s.cfg.WitnessFile, b); err != nil {
		return fmt.Errorf("writing the store's witness: %w; make its directory writable, or correct store.witness_file", err)
	}
	s.keeper.last, s.keeper.lastBytes = w, b
	return nil
}

// past is what the store itself holds about its newest start.
type past struct {
	epoch, start Meta
	sequence     uint64
	// ids and origin are those of a store in a database.
	ids    Meta
	origin string
}

// number is 0 for a store that was never started.
func (p *past) number() uint64 {
	if len(p.epoch.Value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(p.epoch.Value)
}

const (
	metaEpoch = "epoch"
	// metaStart holds the id of the newest start. A store without it never had a witness.
	metaStart = "start"
)

func (s *Store) readPast(ctx context.Context) (p past, err error) {
	if p.sequence, err = s.sequence(ctx); err != nil {
		return p, err
	}
	if p.epoch, err = s.metaOrNew(ctx, metaEpoch); err != nil {
		return p, err
	}
	if p.start, err = s.metaOrNew(ctx, metaStart); err != nil || s.cfg.Database == nil {
		return p, err
	}
	if p.ids, err = s.metaOrNew(ctx, metaStarts); err != nil {
		return p, err
	}
	p.origin, err = s.origin(ctx)
	return p, err
}

func (s *Store) metaOrNew(ctx context.Context, name string) (Meta, error) {
	m, err := s.Meta(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return Meta{Name: name}, nil
	}
	return m, err
}

// Sequencer is the part of a Backend that numbers its commits.
type Sequencer interface {
	// Sequence returns the number of the newest durable commit. It only grows,
	// over restarts as well.
	Sequence(ctx context.Context) (uint64, error)
}

// sequence is 0 with a backend that does not number its commits.
func (s *Store) sequence(ctx context.Context) (uint64, error) {
	b, ok := s.backend.(Sequencer)
	if !ok {
		return 0, nil
	}
	n, err := b.Sequence(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the number of the newest commit: %w", err)
	}
	return n, nil
}

// countStart counts this start in the store, announced and confirmed by the
// witness if there is to be one.
func (s *Store) countStart(ctx context.Context, p past) error {
	number := p.number()
	w := witness{Epoch: number, Start: string(p.start.Value), Sequence: p.sequence, Origin: p.origin}
	if s.cfg.Database != nil {
		// What p holds was read one after another: the newest start may be one that
		// another replica has counted since the number was read.
		w.Start = p.starts()[number]
	}
	s.epoch = number + 1
	p.epoch.Value = binary.BigEndian.AppendUint64(nil, s.epoch)
	changed := []*Meta{&p.epoch}
	if s.cfg.WitnessFile != "" || s.cfg.Database != nil {
		w.Next = strings.ToLower(rand.Text())
		p.start.Value = []byte(w.Next)
		changed = append(changed, &p.start)
	}
	if s.cfg.WitnessFile != "" {
		if err := s.writeWitness(w); err != nil {
			return err
		}
		crashpoint.At(crashpoint.StartAnnounced)
	}
	if s.cfg.Database != nil {
		if err := p.addStart(s.epoch, w.Next); err != nil {
			return err
		}
		changed = append(changed, &p.ids)
	}
	if err := s.swapMetas(ctx, changed...); err != nil {
		return fmt.Errorf("counting this start of the store: %w", err)
	}
	crashpoint.At(crashpoint.StartCounted)
	if s.cfg.WitnessFile == "" {
		return nil
	}
	sequence, err := s.sequence(ctx)
	if err != nil {
		return err
	}
	return s.writeWitness(witness{Epoch: s.epoch, Start: w.Next, Sequence: sequence, Origin: p.origin})
}

// witnessInside reports whether the witness would lie in the store's directory,
// where it would be copied and put back together with it.
func witnessInside(file, dir string) bool {
	f, err1 := filepath.Abs(file)
	d, err2 := filepath.Abs(dir)
	rel, err3 := filepath.Rel(d, f)
	return errors.Join(err1, err2, err3) == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// theirs reports that somebody else has written the file since this store did.
func (k *keeper) theirs(file string) (bool, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // lost while the store is open, which is vouched for: it is made again
	}
	return err == nil && !bytes.Equal(b, k.lastBytes) && !bytes.Equal(b, k.tried), err
}
