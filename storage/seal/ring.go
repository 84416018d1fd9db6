package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrOpen is returned when a sealed blob does not open: it was changed, it
// belongs to other associated data, or its key is not in the ring.
var ErrOpen = errors.New("sealed data does not open")

// Ring holds the data keys. One is the primary, which seals; all of them open.
// A Ring never changes and is safe for concurrent use.
type Ring struct {
	handle *keyset.Handle
	aead   tink.AEAD
}

// NewRing makes a ring of one fresh AES-256-GCM key.
func NewRing() (*Ring, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a data key: %w", err)
	}
	return newRing(h)
}

func newRing(h *keyset.Handle) (*Ring, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("using the key ring: %w", err)
	}
	return &Ring{handle: h, aead: a}, nil
}

// WithNewPrimary returns a ring that also has a fresh key, which seals from
// now on; what older keys sealed still opens.
func (r *Ring) WithNewPrimary() (*Ring, error) {
	m := keyset.NewManagerFromHandle(r.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("adding a data key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("making the new data key the primary one: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("using the new key ring: %w", err)
	}
	return newRing(h)
}

// Seal encrypts plaintext and authenticates it together with ad. The blob
// begins with the id of the primary key.
func (r *Ring) Seal(plaintext, ad []byte) ([]byte, error) {
	b, err := r.aead.Encrypt(plaintext, ad)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return b, nil
}

// Open reverses Seal; every failure is ErrOpen.
func (r *Ring) Open(sealed, ad []byte) ([]byte, error) {
	b, err := r.aead.Decrypt(sealed, ad)
	if err != nil {
		return nil, ErrOpen // Tink's text says no more than that
	}
	return b, nil
}

// Keys returns the number of keys in the ring.
func (r *Ring) Keys() int { return r.handle.Len() }

// Primary returns the id of the key that seals.
func (r *Ring) Primary() (KeyID, error) {
	e, err := r.handle.Primary()
	if err != nil {
		return 0, fmt.Errorf("using the key ring: %w", err)
	}
	return KeyID(e.KeyID()), nil
}

// Has reports whether a key of that id is in the ring.
func (r *Ring) Has(id KeyID) bool {
	for i := range r.handle.Len() {
		if e, err := r.handle.Entry(i); err == nil && KeyID(e.KeyID()) == id {
			return true
		}
	}
	return false
}

// OnlyPrimary returns a ring without the keys that do not seal any more: what
// they sealed does not open with it.
func (r *Ring) OnlyPrimary() (*Ring, error) {
	primary, err := r.Primary()
	if err != nil {
		return nil, err
	}
	m := keyset.NewManagerFromHandle(r.handle)
	for i := range r.handle.Len() {
		e, err := r.handle.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("using the key ring: %w", err)
		}
		if KeyID(e.KeyID()) == primary {
			continue
		}
		if err := m.Delete(e.KeyID()); err != nil {
			return nil, fmt.Errorf("removing a data key: %w", err)
		}
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("using the new key ring: %w", err)
	}
	return newRing(h)
}

// KeyID names a data key of a ring. It is no secret.
type KeyID uint32

// blobPrefix is Tink's byte before the key's id.
const blobPrefix = 1

// SealedBy returns the id of the key that a blob of a ring says it was sealed
// by, which is authentic only if it opens; false: it is no such blob.
func SealedBy(sealed []byte) (KeyID, bool) {
	if len(sealed) < 5 || sealed[0] != blobPrefix {
		return 0, false
	}
	return KeyID(binary.BigEndian.Uint32(sealed[1:])), true
}

// Marshal serialises the ring, sealed by key (KeySize bytes) and bound to ad.
func (r *Ring) Marshal(key, ad []byte) ([]byte, error) {
	master, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := r.handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), master, ad); err != nil {
		return nil, fmt.Errorf("sealing the key ring: %w", err)
	}
	return b.Bytes(), nil
}

// ParseRing reverses Marshal; a ring that does not open is ErrOpen.
func ParseRing(sealed, key, ad []byte) (*Ring, error) {
	master, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(sealed)), master, ad)
	if err != nil {
		return nil, ErrOpen
	}
	return newRing(h)
}
