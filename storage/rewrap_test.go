package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/seal"
)

func newKEK(t *testing.T) *seal.File {
	t.Helper()
	kek, err := seal.CreateFile(filepath.Join(t.TempDir(), "kek"))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func TestAStoreMovesToAnotherKEKWithoutTouchingARecord(t *testing.T) {
	cfg, g := closedStore(t)
	header := filepath.Join(cfg.Dir, storage.HeaderFile)
	next := newKEK(t)
	sum, err := storage.Rewrap(t.Context(), cfg, next)
	if err != nil || sum.From != cfg.KEK.ID() || sum.To != next.ID() {
		t.Fatalf("%+v, error %v", sum, err)
	}
	if _, err := storage.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "wrong KEK") || !strings.Contains(err.Error(), next.ID()) {
		t.Errorf("with the old KEK: %v", err)
	}
	old := cfg.KEK
	cfg.KEK = next
	s := openStore(t, cfg)
	if _, err := s.Grant(t.Context(), g.ID); err != nil {
		t.Error(err)
	}
	// A store that is in use is left alone: its owner writes the header too.
	before, _ := os.ReadFile(header)
	if _, err := storage.Rewrap(t.Context(), cfg, old); err == nil {
		t.Error("the header of a store in use was replaced")
	}
	if now, _ := os.ReadFile(header); string(now) != string(before) {
		t.Error("a refused rewrap changed the header")
	}
}

// badKEK misbehaves where a rewrap needs it.
type badKEK struct {
	seal.KEK
	wrap, unwrap error
	other        bool
}

func (b *badKEK) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	if b.wrap != nil {
		return nil, b.wrap
	}
	return b.KEK.Wrap(ctx, key)
}

func (b *badKEK) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if b.other {
		return seal.NewKey(), nil
	}
	if b.unwrap != nil {
		return nil, b.unwrap
	}
	return b.KEK.Unwrap(ctx, wrapped)
}

func TestAKEKThatDoesNotGiveTheRootKeyBackIsNotMovedTo(t *testing.T) {
	for name, bad := range map[string]*badKEK{
		"can not wrap":          {wrap: seal.ErrUnavailable},
		"can not unwrap":        {unwrap: seal.ErrUnavailable},
		"gives another key out": {other: true},
	} {
		cfg, g := closedStore(t)
		before := hashDir(t, cfg.Dir)[filepath.Join(cfg.Dir, storage.HeaderFile)]
		bad.KEK = newKEK(t)
		_, err := storage.Rewrap(t.Context(), cfg, bad)
		if err == nil || !strings.Contains(err.Error(), "nothing was changed") || errors.Is(err, storage.ErrUnavailable) == bad.other {
			t.Errorf("%s: %v", name, err)
		}
		if hashDir(t, cfg.Dir)[filepath.Join(cfg.Dir, storage.HeaderFile)] != before {
			t.Errorf("%s: the header was changed", name)
		}
		if _, err := openStore(t, cfg).Grant(t.Context(), g.ID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKEKThatIsDownIsUnavailableAndNoDamage(t *testing.T) {
	cfg, _ := closedStore(t)
	before := hashDir(t, cfg.Dir)
	cfg.KEK = &badKEK{KEK: cfg.KEK, unwrap: seal.ErrUnavailable}
	_, err := storage.Open(t.Context(), cfg)
	if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, seal.ErrUnavailable) || errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	for f, sum := range hashDir(t, cfg.Dir) {
		if before[f] != sum {
			t.Errorf("%s was changed", f)
		}
	}
}
