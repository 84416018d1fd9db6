package simulation

import (
	"bytes"
	"maps"
	"sync"
	"syscall"

	"github.com/holdfast-io/holdfast/storage"
)

// disk is the spill file of a replica: what was synced outlives its processes.
type disk struct {
	mu           sync.Mutex // guards both; never held while time passes
	live, synced map[int64][]byte
}

// spillFile is the disk in the hands of one process; life is nil for one that
// does not crash.
type spillFile struct {
	disk *disk
	life *life
}

// mount discards what an earlier process had not synced.
func (d *disk) mount(l *life) storage.SpillFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.live = maps.Clone(d.synced)
	if d.live == nil {
		d.live = map[int64][]byte{}
	}
	return &spillFile{d, l}
}

func (f *spillFile) off() bool { return f.life != nil && f.life.dead.Load() }

func (f *spillFile) ReadAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	clear(b)
	slot := off - off%storage.SlotSize
	if kept := f.disk.live[slot]; off-slot < int64(len(kept)) {
		copy(b, kept[off-slot:])
	}
	return len(b), nil
}

// WriteAt is called for whole slots only, from their beginning.
func (f *spillFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.off() {
		return 0, syscall.EIO
	}
	f.disk.live[off] = bytes.Clone(b)
	return len(b), nil
}

func (f *spillFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.off() {
		return syscall.EIO
	}
	f.disk.synced = maps.Clone(f.disk.live)
	return nil
}

func (f *spillFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.disk.live)) * storage.SlotSize, nil
}

func (f *spillFile) Close() error { return nil }
