package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The layout of a spill file, format version 1. The file is slots of SlotSize
// bytes, one after the other. A slot, integers big-endian:
//
//	"hfspill", byte 0x01 (format version)
//	uint32 length of the sealed entry; 0: the slot is empty
//	uint32 CRC-32C of the twelve bytes before it and of the sealed entry
//	the sealed entry: byte 0x01, then the key ring's blob (record.go)
//	filler without meaning
//
// The plaintext is the protobuf message SpillEntry. Associated data is, with
// every text preceded by its length as 4 bytes:
//
//	"holdfast spill", uint32 format version, store id, uint32 number of the slot
//
// The checksum only tells a write that was cut off from an entry of another
// store or key; what may be believed is what opens.

// SlotSize is the size of a slot in bytes: two tokens of 64 KiB and scopes to
// go with them. The provider's answer may be larger than that (up to 1 MiB);
// such a pair is refused by Keep.
const SlotSize = 256 << 10

const (
	slotHeader = 16
	// maxKept is the largest sealed entry.
	maxKept = SlotSize - slotHeader
)

var (
	slotMagic  = []byte("hfspill\x01")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

var (
	errTornSlot = errors.New("it was cut off while it was written, or damaged since")
	errNoSlot   = errors.New("it is no slot of a spill file that this Holdfast knows")
)

// encodeSlot returns the beginning of a slot that holds sealed; nil: nothing.
func encodeSlot(sealed []byte) ([]byte, error) {
	if len(sealed) > maxKept {
		return nil, fmt.Errorf("the settlement takes %d bytes and a slot holds %d", len(sealed), maxKept)
	}
	b := make([]byte, 0, slotHeader+len(sealed))
	b = append(b, slotMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(sealed)))
	sum := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, sealed)
	return append(binary.BigEndian.AppendUint32(b, sum), sealed...), nil
}

// parseSlot returns what a slot holds, still sealed; nil: nothing.
func parseSlot(b []byte) ([]byte, error) {
	if len(b) < slotHeader || !bytes.Equal(b[:len(slotMagic)], slotMagic) {
		return nil, errNoSlot
	}
	n := binary.BigEndian.Uint32(b[8:])
	if n > maxKept || int(n) > len(b)-slotHeader {
		return nil, errTornSlot
	}
	sealed := b[slotHeader : slotHeader+int(n)]
	if crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, sealed) != binary.BigEndian.Uint32(b[12:]) {
		return nil, errTornSlot
	}
	if n == 0 {
		return nil, nil
	}
	return sealed, nil
}

func (s *Store) spillAD(slot int) []byte {
	b := appendBytes(nil, []byte("holdfast spill"))
	b = binary.BigEndian.AppendUint32(b, sealedFormat)
	b = appendBytes(b, []byte(s.StoreID()))
	return binary.BigEndian.AppendUint32(b, uint32(slot))
}
