package storage_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// FuzzBackup changes a genuine backup: nothing but the whole of it is restored.
func FuzzBackup(f *testing.F) {
	cfg, _, backup := backedUp(f)
	cfg.Backend = func(string, []byte) (storage.Backend, error) { return memstore.New(), nil }
	f.Add(uint32(0), []byte{}, uint32(1))
	f.Add(uint32(40), []byte("{"), uint32(0))
	f.Add(uint32(len(backup)), []byte("more"), uint32(0))
	f.Fuzz(func(t *testing.T, at uint32, put []byte, cut uint32) {
		from := int(at) % (len(backup) + 1)
		to := min(from+int(cut%4096), len(backup))
		changed := append(append(bytes.Clone(backup[:from]), put...), backup[to:]...)
		c := cfg
		c.Dir = filepath.Join(t.TempDir(), "restored")
		_, err := storage.Restore(t.Context(), c, bytes.NewReader(changed), false)
		if err == nil && !bytes.Equal(changed, backup) {
			t.Errorf("restored although bytes %d to %d were replaced by %x", from, to, put)
		}
	})
}
