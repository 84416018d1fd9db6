package badgerstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

const (
	recordPrefix  = 'r'
	duePrefix     = 'd'
	headPrefix    = 'h'
	journalPrefix = 'j'
)

var commitKey = []byte{'c'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged: a value is not what was stored under its key.
var errDamaged = errors.New("a stored value is damaged")

func recordKey(k storage.Key) []byte {
	return append([]byte{recordPrefix, byte(k.Kind)}, k.ID...)
}

func dueKey(due time.Time, id string) []byte {
	return append(appendTime([]byte{duePrefix}, due), id...)
}

const dueKeyPrefixLen = 1 + timeLen

func headKey(grantID string) []byte { return append([]byte{headPrefix}, grantID...) }

func slotKey(grantID string, seq uint64) []byte {
	return append(append([]byte{journalPrefix}, grantID...), 0, byte(seq%storage.JournalLength))
}

const timeLen = 12

// appendTime keeps the order of times in the order of bytes.
func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix())^(1<<63))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func parseTime(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)^(1<<63)), int64(binary.BigEndian.Uint32(b[8:]))).UTC()
}

// pack precedes a value by the CRC-32C of its key and itself. Badger's own
// checksum of the value log does not cover the file header that decryption needs.
func pack(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), sum), value...)
}

func unpack(key, packed []byte) ([]byte, error) {
	if len(packed) < 4 {
		return nil, errDamaged
	}
	value := packed[4:]
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value) != binary.BigEndian.Uint32(packed) {
		return nil, errDamaged
	}
	return value, nil
}

const recordFixed = 8 + timeLen + 4

func encodeRecord(it storage.Item) []byte {
	b := make([]byte, 0, recordFixed+len(it.Public)+len(it.Sealed))
	b = binary.BigEndian.AppendUint64(b, uint64(it.Version))
	b = appendTime(b, it.Due)
	b = binary.BigEndian.AppendUint32(b, uint32(len(it.Public)))
	return append(append(b, it.Public...), it.Sealed...)
}

// decodeRecord does not copy: the item's slices are parts of b.
func decodeRecord(k storage.Key, b []byte) (storage.Item, error) {
	if len(b) < recordFixed {
		return storage.Item{}, errDamaged
	}
	n := uint64(binary.BigEndian.Uint32(b[8+timeLen:]))
	rest := b[recordFixed:]
	if n > uint64(len(rest)) {
		return storage.Item{}, errDamaged
	}
	return storage.Item{
		Key: k, Version: storage.Version(binary.BigEndian.Uint64(b)), Due: parseTime(b[8:]),
		Public: rest[:n:n], Sealed: rest[n:],
	}, nil
}
