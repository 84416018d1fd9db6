package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// KeySize is the length in bytes of the root key, of a KEK and of every derived key.
const KeySize = 32

// Purpose separates the keys that are derived from one root key. The texts
// are part of the stored format.
type Purpose string

// What keys are derived for.
const (
	ForRing    Purpose = "holdfast v1 ring"
	ForBackend Purpose = "holdfast v1 backend"
	ForLinks   Purpose = "holdfast v1 links"
	ForHeader  Purpose = "holdfast v1 header"
	ForBackup  Purpose = "holdfast v1 backup"
	ForWitness Purpose = "holdfast v1 witness"
	// ForFingerprint keys the fingerprints of access tokens in the audit record.
	ForFingerprint Purpose = "holdfast v1 fingerprint"
	// ForAudit is the seed of the Ed25519 key that signs the audit record's checkpoints.
	ForAudit Purpose = "holdfast v1 audit"
	// ForPages seals the page tokens of listings.
	ForPages Purpose = "holdfast v1 pages"
)

// NewKey returns KeySize random bytes.
func NewKey() []byte {
	k := make([]byte, KeySize)
	_, _ = rand.Read(k) // never fails, see crypto/rand
	return k
}

// Derive returns the key for p: HKDF-SHA256 (RFC 5869) over the root key.
func Derive(root []byte, p Purpose) ([]byte, error) {
	if len(root) != KeySize {
		return nil, fmt.Errorf("root key has %d bytes, want %d", len(root), KeySize)
	}
	k, err := hkdf.Key(sha256.New, root, nil, string(p), KeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving the key %q: %w", p, err)
	}
	return k, nil
}

// gcm is AES-256-GCM with a random 96-bit nonce before the ciphertext. It is
// for the few blobs that no ring seals: a wrapped root key, the ring itself,
// the chunks of a backup. It has the methods of Tink's AEAD.
type gcm struct{ a cipher.AEAD }

func newGCM(key []byte) (gcm, error) {
	if len(key) != KeySize {
		return gcm{}, fmt.Errorf("key has %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return gcm{}, fmt.Errorf("using a key: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return gcm{}, fmt.Errorf("using a key: %w", err)
	}
	return gcm{a}, nil
}

func (g gcm) Encrypt(plaintext, ad []byte) ([]byte, error) {
	return g.a.Seal(nil, nil, plaintext, ad), nil //nolint:gosec // this AEAD makes its own random nonce and takes none
}

func (g gcm) Decrypt(sealed, ad []byte) ([]byte, error) {
	b, err := g.a.Open(nil, nil, sealed, ad)
	if err != nil {
		return nil, ErrOpen
	}
	return b, nil
}

// SealWith seals plaintext with a single key (KeySize bytes), bound to ad.
func SealWith(key, plaintext, ad []byte) ([]byte, error) {
	g, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	return g.Encrypt(plaintext, ad)
}

// OpenWith reverses SealWith; a blob that does not open is ErrOpen.
func OpenWith(key, sealed, ad []byte) ([]byte, error) {
	g, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	return g.Decrypt(sealed, ad)
}
