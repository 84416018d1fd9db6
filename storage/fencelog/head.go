package fencelog

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"time"
)

const headSize = 512

// Info is what a log knows about its replica.
type Info struct {
	// Replica is its random id; empty: the file is new.
	Replica string
	// Store that the notes are about.
	Store string
	// System and Timeline are the database and its history that the notes are of.
	System   string
	Timeline uint64
	// Beat is the newest sign of life of the replica that the database took.
	Beat time.Time
	// Torn: the machine has died since the file was last in use, so that the
	// newest notes may be missing.
	Torn bool

	closed bool
}

// head is a head as it is stored: its length as 4 bytes, JSON, CRC-32C of both.
type head struct {
	Format   int       `json:"format"`
	Number   uint64    `json:"number"`
	Replica  string    `json:"replica"`
	Store    string    `json:"store"`
	System   string    `json:"system"`
	Timeline uint64    `json:"timeline"`
	Beat     time.Time `json:"beat"`
	// Machine is the run of the machine in which the file was last in use.
	Machine string `json:"machine"`
	Closed  bool   `json:"closed"`
}

const format = 1

// Info returns what the log knows.
func (l *Log) Info() Info {
	l.heads.Lock()
	defer l.heads.Unlock()
	return l.info
}

// SetInfo replaces it, durably: with all notes before it.
func (l *Log) SetInfo(i Info) error {
	l.heads.Lock()
	defer l.heads.Unlock()
	i.closed = false
	l.info = i
	return l.writeHead()
}

// readHead takes the newer head that is whole.
func (l *Log) readHead() error {
	for n := range int64(2) {
		b := make([]byte, headSize)
		if _, err := l.f.ReadAt(b, n*headSize); err != nil {
			return fmt.Errorf("reading the fence log: %w", err)
		}
		h, ok := parseHead(b)
		if !ok || h.Number < l.head {
			continue
		}
		if h.Format > format {
			return fmt.Errorf("the fence log %s has format %d and this program knows up to %d: start the newer Holdfast that wrote it", l.f.Name(), h.Format, format)
		}
		l.head = h.Number
		l.info = Info{
			Replica: h.Replica, Store: h.Store, System: h.System, Timeline: h.Timeline, Beat: h.Beat,
			Torn: !h.Closed && h.Machine != machine(),
		}
	}
	return nil
}

func parseHead(b []byte) (h head, ok bool) {
	n := binary.BigEndian.Uint32(b)
	if n == 0 || n > headSize-8 || binary.BigEndian.Uint32(b[4+n:]) != crc32.Checksum(b[:4+n], castagnoli) {
		return h, false
	}
	return h, json.Unmarshal(b[4:4+n], &h) == nil
}

func frame(text []byte) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// writeHead replaces the older head, synced; the newer one stays until this one is whole.
func (l *Log) writeHead() error {
	l.head++
	i := &l.info
	text, err := json.Marshal(head{
		Format: format, Number: l.head, Replica: i.Replica, Store: i.Store, System: i.System, Timeline: i.Timeline,
		Beat: i.Beat.UTC(), Machine: machine(), Closed: i.closed,
	})
	if err != nil || len(text) > headSize-8 {
		return fmt.Errorf("writing the fence log's head of %d bytes: %w", len(text), err)
	}
	if err := l.f.Sync(); err != nil { // the notes that it speaks of
		return fmt.Errorf("writing the fence log: %w", err)
	}
	if _, err := l.f.WriteAt(frame(text), int64(l.head%2)*headSize); err != nil {
		return fmt.Errorf("writing the fence log: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("writing the fence log: %w", err)
	}
	return nil
}

// machine names this run of the machine; where the system does not tell, nothing
// does, and a log that was not closed in order counts as torn.
func machine() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process
	}
	return strings.TrimSpace(string(b))
}

var process = rand.Text()
