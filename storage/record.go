package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// The layout of a record, format version 1.
//
// A backend keeps, under Key{Kind, ID}:
//
//	Public  protobuf message <Kind>Public, stored and authenticated verbatim
//	Sealed  byte 0x01 (format version), then the key ring's blob:
//	        0x01, data key id (4 bytes), nonce (12), ciphertext, tag (16)
//
// The plaintext is the protobuf message <Kind>Secret. Associated data is, with
// every text preceded by its length as 4 bytes, all integers big-endian:
//
//	"holdfast record", uint32 format version, byte kind, id,
//	uint64 version of the record, Public
//
// so that a record opens only under its own key, at its own version, with its
// public part untouched. A journal entry has the same blob over the message
// JournalEntry, with the associated data
//
//	"holdfast journal", uint32 format version, grant id
//
// A backend numbers journal entries itself; what orders them under the seal is
// the version of the grant's record, which the entry repeats. testdata/v1 holds
// records of this layout that every later program must open.
//
// The key ring's record (KindRing) is sealed by the ring key instead, with the
// first associated data; see package seal.

const sealedFormat = 1

func appendBytes(b, p []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
}

func recordAD(k Key, v Version, public []byte) []byte {
	b := make([]byte, 0, 64+len(k.ID)+len(public))
	b = appendBytes(b, []byte("holdfast record"))
	b = binary.BigEndian.AppendUint32(b, sealedFormat)
	b = append(b, byte(k.Kind))
	b = appendBytes(b, []byte(k.ID))
	b = binary.BigEndian.AppendUint64(b, uint64(v))
	return appendBytes(b, public)
}

func journalAD(grantID string) []byte {
	b := appendBytes(nil, []byte("holdfast journal"))
	b = binary.BigEndian.AppendUint32(b, sealedFormat)
	return appendBytes(b, []byte(grantID))
}

func (s *Store) seal(m proto.Message, ad []byte) ([]byte, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	return s.sealBytes(plain, ad)
}

func (s *Store) sealBytes(plain, ad []byte) ([]byte, error) {
	blob, err := s.keys.Load().ring.Seal(plain, ad)
	if err != nil {
		return nil, err
	}
	return append([]byte{sealedFormat}, blob...), nil
}

var errNewerRecord = errors.New("it was written by a newer Holdfast: start that one")

func (s *Store) open(sealed, ad []byte, m proto.Message) error {
	plain, err := s.openBytes(sealed, ad)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(plain, m); err != nil {
		return errors.New("its content is no record") // the decoder's text could quote it
	}
	return nil
}

func (s *Store) openBytes(sealed, ad []byte) ([]byte, error) {
	if len(sealed) > 0 && sealed[0] > sealedFormat {
		return nil, errNewerRecord
	}
	if len(sealed) == 0 || sealed[0] != sealedFormat {
		s.refused.Add(1)
		return nil, errors.New("it is no sealed record")
	}
	plain, err := s.keys.Load().open(sealed[1:], ad, s.cfg.Now())
	if err != nil && s.newerRing(sealed[1:]) {
		plain, err = s.keys.Load().open(sealed[1:], ad, s.cfg.Now())
	}
	if err != nil {
		s.refused.Add(1)
	}
	return plain, err
}

// sealChange makes the change that swaps in a record at version old+1.
func (s *Store) sealChange(k Key, old Version, public, secret proto.Message) (Change, error) {
	return s.sealNew(k, old, 0, public, secret)
}

// sealNew makes the same change, of a record whose versions begin above floor.
func (s *Store) sealNew(k Key, old, floor Version, public, secret proto.Message) (Change, error) {
	pub, err := proto.MarshalOptions{Deterministic: true}.Marshal(public)
	if err != nil {
		return Change{}, fmt.Errorf("encoding a record's public part: %w", err)
	}
	c := Change{Old: old, Floor: floor, Item: Item{Key: k, Public: pub}}
	c.Item.Sealed, err = s.seal(secret, recordAD(k, c.Next(), pub))
	if err != nil {
		return Change{}, err
	}
	return c, nil
}

// openPublic decodes a public part. It is authentic only once openSecret has returned nil.
func openPublic(it Item, public proto.Message) error {
	if len(it.Public) == 0 {
		return errors.New("its public part is missing")
	}
	if err := proto.Unmarshal(it.Public, public); err != nil {
		return errors.New("its public part does not decode")
	}
	return nil
}

func (s *Store) openSecret(it Item, secret proto.Message) error {
	return s.open(it.Sealed, recordAD(it.Key, it.Version, it.Public), secret)
}

// corrupt names what does not open and the way out. A record of a newer format
// is not corrupt, but no more usable.
func corrupt(what string, cause error) error {
	if errors.Is(cause, errNewerRecord) {
		return fmt.Errorf("%w: %s does not open: %w; nothing was changed", ErrUnavailable, what, cause)
	}
	return fmt.Errorf("%w: %s does not open as what its key says: %w; run holdfast restore with the newest backup, or have it consented again; nothing was changed",
		ErrCorrupt, what, cause)
}
