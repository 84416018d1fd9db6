package seal

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// ErrUnavailable is returned by a KEK whose provider can not be reached or
// refuses for now: with the same wrapped key it may work later.
var ErrUnavailable = errors.New("the key's provider is not available")

// MaxKEKAnswer bounds, in bytes, what is read of a provider's answer, and what it
// may want to have stored in the header.
const MaxKEKAnswer = 64 << 10

// KEK wraps and unwraps keys of 32 to 1000 bytes. A KMS may stand behind it:
// the methods may block on the network until ctx ends.
type KEK interface {
	// ID names the key without giving it away, so that a wrong KEK can be
	// told from a damaged store.
	ID() string
	// Wrap encrypts and authenticates key.
	Wrap(ctx context.Context, key []byte) ([]byte, error)
	// Unwrap reverses Wrap; it fails if the KEK is another one: ErrOpen, if that
	// can be told, or if wrapped was changed; ErrUnavailable.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// File is a KEK that was read from a file.
type File struct {
	id  string
	gcm gcm
}

// wrapAD keeps a wrapped key from being taken for anything else.
var wrapAD = []byte("holdfast v1 wrapped key")

// maxFile bounds what is read of a KEK file: 32 bytes in base64 are 44.
const maxFile = 1024

// ReadFile reads a KEK file: 32 random bytes, raw or in standard base64. A
// file that others than its owner can read is refused with the command that
// mends it.
func ReadFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("KEK file %s does not exist: put the key file back in its place; "+
				"only for a new store make one with: (umask 077 && openssl rand -base64 32 > %[1]s): %w", path, err)
		}
		return nil, fmt.Errorf("opening KEK file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading KEK file: %w", err)
	}
	if m := info.Mode().Perm(); m&0o077 != 0 {
		return nil, fmt.Errorf("KEK file %s has mode %04o, so that others than its owner can use it: run chmod 600 %[1]s", path, m)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("reading KEK file: %w", err)
	}
	key, ok := parseKEK(b)
	if !ok {
		return nil, fmt.Errorf("KEK file %s holds no key: want 32 bytes, raw or in base64, as (umask 077 && openssl rand -base64 32 > FILE) makes them", path)
	}
	return newFile(key)
}

func parseKEK(b []byte) ([]byte, bool) {
	if len(b) == KeySize {
		return b, true
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
	return key, err == nil && len(key) == KeySize
}

func newFile(key []byte) (*File, error) {
	g, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("holdfast v1 kek id\x00"), key...))
	return &File{id: "file-" + hex.EncodeToString(sum[:8]), gcm: g}, nil
}

// CreateFile makes a new KEK in a new file of mode 0600 and reads it. The
// directory is made if it does not exist. An existing file is never replaced.
func CreateFile(path string) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the KEK file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making KEK file: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(NewKey()) + "\n")
	// A store whose KEK did not survive the next loss of power is lost.
	if err := errors.Join(err, f.Sync(), f.Close(), durable.SyncDir(filepath.Dir(path))); err != nil {
		return nil, fmt.Errorf("writing KEK file %s: %w", path, err)
	}
	return ReadFile(path)
}

// ID returns "file-" and 16 hexadecimal digits of a hash of the key.
func (f *File) ID() string { return f.id }

// Wrap implements KEK; it never blocks.
func (f *File) Wrap(_ context.Context, key []byte) ([]byte, error) {
	return f.gcm.Encrypt(key, wrapAD)
}

// Unwrap implements KEK; it never blocks.
func (f *File) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	return f.gcm.Decrypt(wrapped, wrapAD)
}
