package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint says what the chain was at a moment.
type Checkpoint struct {
	// Origin names the chain.
	Origin string
	// Seq is the number of the newest line, Hash its hash.
	Seq  uint64
	Hash digest
	Time time.Time
}

// Origin names the chain of the store with this id.
func Origin(storeID string) string { return "holdfast/audit/" + storeID }

// VerifierKey is the text by which checkpoints of origin that the key of seed
// (32 bytes) signs are verified.
func VerifierKey(origin string, seed []byte) (string, error) {
	if len(seed) != ed25519.SeedSize {
		return "", fmt.Errorf("the seed of the audit key has %d bytes, want %d", len(seed), ed25519.SeedSize)
	}
	return verifierKey(origin, ed25519.NewKeyFromSeed(seed))
}

func verifierKey(origin string, key ed25519.PrivateKey) (string, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("the audit key is no Ed25519 key")
	}
	return note.NewEd25519VerifierKey(origin, public)
}

// signer is a note.Signer.
type signer struct {
	note.Verifier
	key ed25519.PrivateKey
}

// Sign implements note.Signer.
func (s signer) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.key, text), nil }

// text is what is signed: a line each for origin, number, hash and time.
func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Seq, 10) + "\n" + c.Hash.String() + "\n" + c.Time.UTC().Format(timeLayout) + "\n"
}

func (c Checkpoint) sign(key ed25519.PrivateKey) (string, error) {
	text, err := verifierKey(c.Origin, key)
	if err != nil {
		return "", err
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		return "", fmt.Errorf("using the audit key: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer{v, key})
	return string(signed), err
}

// CheckKey reports a text that is no key of `holdfast audit key`; "" is none to check.
func CheckKey(key string) error {
	if key == "" {
		return nil
	}
	if _, err := note.NewVerifier(strings.TrimSpace(key)); err != nil {
		return fmt.Errorf("the key is none that `holdfast audit key` prints: %w", err)
	}
	return nil
}

// ParseCheckpoint parses a signed checkpoint. With a key (as `holdfast audit key`
// prints it) its signature must be by that key; without one, "", nothing but
// its form is checked.
func ParseCheckpoint(text []byte, key string) (Checkpoint, error) {
	verifiers := note.VerifierList()
	if key != "" {
		v, err := note.NewVerifier(strings.TrimSpace(key))
		if err != nil {
			return Checkpoint{}, fmt.Errorf("the key is none that `holdfast audit key` prints: %w", err)
		}
		verifiers = note.VerifierList(v)
	}
	n, err := note.Open(text, verifiers)
	unverified := new(note.UnverifiedNoteError)
	if key == "" && errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the checkpoint's signature: %w", err)
	}
	return parseCheckpointText(n.Text)
}

func parseCheckpointText(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[4] != "" {
		return Checkpoint{}, errors.New("the checkpoint has not the four lines origin, number, hash and time")
	}
	c := Checkpoint{Origin: lines[0]}
	var err error
	if c.Seq, err = strconv.ParseUint(lines[1], 10, 64); err != nil {
		return c, fmt.Errorf("the checkpoint's number: %w", err)
	}
	if len(lines[2]) != hashLen {
		return c, fmt.Errorf("the checkpoint's hash has %d characters, want %d", len(lines[2]), hashLen)
	}
	if _, err := digestText.Strict().Decode(c.Hash[:], []byte(lines[2])); err != nil {
		return c, fmt.Errorf("the checkpoint's hash: %w", err)
	}
	if c.Time, err = time.Parse(timeLayout, lines[3]); err != nil {
		return c, fmt.Errorf("the checkpoint's time: %w", err)
	}
	return c, nil
}

// Checkpoint returns the newest signed checkpoint of this process; empty: none yet.
func (l *Log) Checkpoint() string {
	if p := l.exported.newest.Load(); p != nil {
		return *p
	}
	return ""
}

// exporter keeps the newest checkpoint, in a file as well if there is one.
type exporter struct {
	newest atomic.Pointer[string]
	next   chan string
	done   chan struct{}
	failed error // read after done
}
