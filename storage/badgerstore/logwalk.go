package badgerstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"slices"
)

// logEnd is where a log file ends.
type logEnd struct {
	// offset after the last complete transaction: where Badger cuts off. The
	// value log has no transactions: there it is the end of the last intact entry.
	offset int64
	// clean: nothing but zeros follows the last intact entry.
	clean bool
}

// inTxn is the bit of an entry's meta byte that says that more of its
// transaction follows; the last one has another bit.
const inTxn = 1 << 6

// logHeaderLen is the key id and the IV before the first entry.
const logHeaderLen = 20

// maxEntry bounds an entry that is believed: above any that Badger accepts.
const maxEntry = 1 << 30

// maxKey that Badger accepts is below this.
const maxKey = 1 << 16

// walkLog follows the entries of a log file of Badger 4.9.6: meta and user
// meta (a byte each), lengths of key and value and expiry (varints), key and
// value (encrypted), CRC-32C of all that. No key is needed.
func walkLog(name string) (logEnd, error) { return walkEntries(name, nil) }

// walkEntries does that and calls visit, unless it is nil, with the offset of each
// intact entry and its key as it lies there. The key may be changed, not kept.
func walkEntries(name string, visit func(offset int64, key []byte)) (logEnd, error) {
	f, err := os.Open(name)
	if err != nil {
		return logEnd{}, fmt.Errorf("reading the store's files: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	if _, err := f.Seek(logHeaderLen, io.SeekStart); err != nil {
		return logEnd{}, fmt.Errorf("reading the store's files: %w", err)
	}
	intact, complete := int64(logHeaderLen), int64(logHeaderLen)
	r := &entryReader{r: bufio.NewReaderSize(f, 1<<16), sum: crc32.New(castagnoli), wanted: visit != nil}
	for {
		n, err := r.entry()
		if errors.Is(err, errNoEntry) {
			break
		}
		if err != nil {
			return logEnd{}, fmt.Errorf("reading %s: %w", name, err)
		}
		if visit != nil {
			visit(intact, r.key)
		}
		if intact += n; r.meta&inTxn == 0 {
			complete = intact
		}
	}
	clean, err := zerosFrom(f, intact)
	if err != nil {
		return logEnd{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return logEnd{complete, clean}, nil
}

// errNoEntry: what follows is no intact entry, or nothing follows.
var errNoEntry = errors.New("no entry")

// entryReader reads entries and sums up what it reads.
type entryReader struct {
	r   *bufio.Reader
	sum hash.Hash32
	n   int64 // bytes of the entry's header
	// meta of the newest entry, and its key if that is wanted.
	meta   byte
	wanted bool
	key    []byte
}

func (r *entryReader) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.sum.Write([]byte{b})
		r.n++
	}
	return b, err
}

// entry returns the length of the next entry.
func (r *entryReader) entry() (int64, error) {
	r.sum.Reset()
	r.n = 0
	n, err := r.body()
	if err != nil {
		return 0, noEntry(err)
	}
	want := r.sum.Sum32()
	var crc [crc32.Size]byte
	if _, err := io.ReadFull(r.r, crc[:]); err != nil {
		return 0, noEntry(err)
	}
	if binary.BigEndian.Uint32(crc[:]) != want {
		return 0, errNoEntry
	}
	return r.n + n + crc32.Size, nil
}

// body reads the header and sums up key and value, whose length it returns.
func (r *entryReader) body() (int64, error) {
	var err error
	if r.meta, err = r.ReadByte(); err != nil {
		return 0, err
	}
	if _, err = r.ReadByte(); err != nil {
		return 0, err
	}
	var fields [3]uint64 // key length, value length, expiry
	for i := range fields {
		v, err := binary.ReadUvarint(r)
		if err != nil {
			return 0, errNoEntry
		}
		fields[i] = v
	}
	if fields[0] == 0 || fields[0] > maxEntry || fields[1] > maxEntry {
		return 0, errNoEntry
	}
	r.key = r.key[:0]
	if r.wanted && fields[0] <= maxKey {
		r.key = slices.Grow(r.key, int(fields[0]))[:fields[0]]
		if _, err := io.ReadFull(r.r, r.key); err != nil {
			return 0, err
		}
		r.sum.Write(r.key)
	}
	_, err = io.CopyN(r.sum, r.r, int64(fields[0]+fields[1])-int64(len(r.key)))
	return int64(fields[0] + fields[1]), err
}

func noEntry(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNoEntry
	}
	return err
}

func zerosFrom(f *os.File, offset int64) (bool, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return false, err
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := f.Read(buf)
		if !allZero(buf[:n]) {
			return false, nil
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
