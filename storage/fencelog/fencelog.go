// Package fencelog keeps, on a replica's own disk, which versions and fences of
// grants it has seen committed by a database that several replicas share. A
// database that fails over to a standby which lacked its newest commits can not
// tell so by itself; who has noted them can.
//
// It owns the file and nothing else: what is compared with what, and what follows
// from a difference, is package storage's.
//
// # Which crash it survives
//
// A note is written into the operating system's cache and not synced: it stands
// between the commit and the sending of a token. It survives the death of the
// process, however sudden. It need not survive the death of the machine, for that
// is noticed: the file says in which run of the machine it was last in use, and
// whether it was closed in order, and one that was not, in an earlier run, counts
// as missing (Info.Torn). A sync of every note would buy only the case in which the replica's
// machine and the database's die together, and cost every rotation two of them.
package fencelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// The layout, format version 1, integers big-endian. Two heads of headSize bytes,
// of which the one with the higher number counts; then slots of slotSize bytes:
//
//	32 bytes grant id, padded by zeros
//	uint64 version, uint64 fence
//	uint32 time, in seconds since 1970
//	uint64 number of the note, growing from 1
//	uint32 CRC-32C of the 60 bytes before
//
// Note n lies in slot n modulo their number.
const (
	slotSize = 64
	idSize   = 32
	// Slots of a new file, which is 4 MiB: enough for 54 notes a second over 20 minutes.
	Slots = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Note is one commit that this replica was told of.
type Note struct {
	Grant          string
	Version, Fence uint64
	// At is when it was noted, to the second.
	At time.Time
}

// Log is an open file. It is safe for concurrent use.
type Log struct {
	f     *os.File
	slots uint64

	mu   sync.Mutex // guards next, and the order of notes
	next uint64     // number of the next note

	heads sync.Mutex // guards info and head, over syncs: whoever adds a note must not wait for it
	info  Info
	head  uint64 // number of the newest head
}

// Open opens the file at path, or makes one of so many slots with all its room
// taken. Another process that holds it is an error.
func Open(path string, slots int) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = create(path, slots); err == nil {
			f, err = os.OpenFile(path, os.O_RDWR, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the fence log: %w", err)
	}
	l := &Log{f: f}
	if err := l.read(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func create(path string, slots int) error {
	return durable.CreateFrom(path, io.LimitReader(filler{}, int64(2*headSize+slots*slotSize)))
}

// filler is no zeros, of which some file systems make a hole.
type filler struct{}

func (filler) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 0xff
	}
	return len(b), nil
}

// read finds the newest head and note, and notes that the file is in use.
func (l *Log) read(path string) error {
	if mine, err := lock(l.f); err != nil || !mine {
		return errors.Join(fmt.Errorf("the fence log %s is in use by another process: give each replica a store.dir of its own", path), err)
	}
	size, err := l.f.Seek(0, io.SeekEnd)
	if err != nil || size < 2*headSize+slotSize {
		return errors.Join(fmt.Errorf("the fence log %s is cut off: move it away; its replica counts as one without a log then", path), err)
	}
	l.slots = uint64(size-2*headSize) / slotSize
	if err := l.readHead(); err != nil {
		return err
	}
	err = l.each(func(_ Note, number uint64) { l.next = max(l.next, number) })
	l.next++
	return err
}

// Add notes a commit. It does not sync: see the package.
func (l *Log) Add(n Note) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := encode(n, l.next)
	if _, err := l.f.WriteAt(b, 2*headSize+int64(l.next%l.slots)*slotSize); err != nil {
		return fmt.Errorf("writing the fence log: %w", err)
	}
	l.next++
	return nil
}

func encode(n Note, number uint64) []byte {
	b := make([]byte, idSize, slotSize)
	copy(b, n.Grant)
	b = binary.BigEndian.AppendUint64(b, n.Version)
	b = binary.BigEndian.AppendUint64(b, n.Fence)
	b = binary.BigEndian.AppendUint32(b, uint32(n.At.Unix()))
	b = binary.BigEndian.AppendUint64(b, number)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decode returns false for a slot that holds nothing whole.
func decode(b []byte) (n Note, number uint64, ok bool) {
	if binary.BigEndian.Uint32(b[slotSize-4:]) != crc32.Checksum(b[:slotSize-4], castagnoli) {
		return n, 0, false
	}
	n.Grant = string(bytes.TrimRight(b[:idSize], "\x00"))
	n.Version, n.Fence = binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[40:])
	n.At = time.Unix(int64(binary.BigEndian.Uint32(b[48:])), 0).UTC()
	number = binary.BigEndian.Uint64(b[52:])
	return n, number, number > 0
}

// each reads all slots, in the order in which they lie.
func (l *Log) each(do func(Note, uint64)) error {
	b := make([]byte, 1024*slotSize)
	for at := uint64(0); at < l.slots; at += 1024 {
		piece := b[:min(1024, l.slots-at)*slotSize]
		if _, err := l.f.ReadAt(piece, 2*headSize+int64(at)*slotSize); err != nil {
			return fmt.Errorf("reading the fence log: %w", err)
		}
		for ; len(piece) > 0; piece = piece[slotSize:] {
			if n, number, ok := decode(piece); ok {
				do(n, number)
			}
		}
	}
	return nil
}

// Newest returns, of each grant, the note of the highest version, and since when
// the log is complete: zero if nothing was ever overwritten.
func (l *Log) Newest() (newest map[string]Note, since time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest = map[string]Note{}
	oldest := l.next
	err = l.each(func(n Note, number uint64) {
		if number < oldest {
			oldest, since = number, n.At
		}
		if was, ok := newest[n.Grant]; !ok || n.Version > was.Version {
			newest[n.Grant] = n
		}
	})
	if l.next <= l.slots {
		since = time.Time{}
	}
	return newest, since, err
}

// Close notes that the file was closed in order, durably, and closes it.
func (l *Log) Close() error {
	l.heads.Lock()
	defer l.heads.Unlock()
	l.info.closed = true
	return errors.Join(l.writeHead(), l.f.Close())
}
