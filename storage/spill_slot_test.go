package storage

import (
	"bytes"
	"testing"
)

func FuzzSlot(f *testing.F) {
	for _, sealed := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("y"), 1000)} {
		b, err := encodeSlot(sealed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed, err := parseSlot(b)
		if err != nil {
			return
		}
		again, err := encodeSlot(sealed)
		if err != nil || !bytes.HasPrefix(b, again) {
			t.Fatalf("%x parses, and is encoded as %x, error %v", b, again, err)
		}
	})
}

func TestEveryFlippedBitOfASlotIsNoticed(t *testing.T) {
	whole, err := encodeSlot([]byte("a sealed settlement"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if sealed, err := parseSlot(b); err == nil {
			t.Errorf("bit %d: parsed as %q", i, sealed)
		}
	}
	for n := range len(whole) {
		if _, err := parseSlot(whole[:n]); err == nil {
			t.Errorf("cut off after %d bytes: parsed", n)
		}
	}
}
