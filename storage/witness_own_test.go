package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// TestAWitnessWhoseSyncFailedIsStillOnesOwn: a directory's sync may fail after
// the file is in place. Taking it for another process's would stop all spending
// until somebody restarts the broker.
func TestAWitnessWhoseSyncFailedIsStillOnesOwn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "witness")
	s := &Store{cfg: Config{WitnessFile: file, Now: time.Now}, root: make([]byte, 32)}
	s.header.Store(&header{})
	if err := s.writeWitness(witness{Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	// The next one gets into place, and then the error comes.
	s.cfg.WitnessFile = filepath.Join(file, "not a directory")
	if err := s.writeWitness(witness{Epoch: 1, Sequence: 2}); err == nil {
		t.Fatal("it was written")
	}
	if err := durable.WriteFile(file, s.keeper.tried); err != nil {
		t.Fatal(err)
	}
	if theirs, err := s.keeper.theirs(file); theirs || err != nil {
		t.Errorf("another process's: %v, %v", theirs, err)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if theirs, err := s.keeper.theirs(file); !theirs || err != nil {
		t.Errorf("what another process wrote is taken for one's own (%v)", err)
	}
}
