package badgerstore

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

// The bytes are stored: a change of any of them needs a new format.
func TestTheLayoutOfKeysAndValues(t *testing.T) {
	k := storage.Key{Kind: storage.KindGrant, ID: "grt_1"}
	due := time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC)
	it := storage.Item{Key: k, Version: 7, Public: []byte("pub"), Sealed: []byte("sealed"), Due: due}
	got := map[string]string{
		"record key":  hex.EncodeToString(recordKey(k)),
		"due key":     hex.EncodeToString(dueKey(due, "grt_1")),
		"head key":    hex.EncodeToString(headKey("grt_1")),
		"journal key": hex.EncodeToString(slotKey("grt_1", 65)),
		"record":      hex.EncodeToString(pack(recordKey(k), encodeRecord(it))),
	}
	want := map[string]string{
		"record key":  "7201" + "6772745f31",
		"due key":     "64" + "800000006ae729c0" + "00000005" + "6772745f31",
		"head key":    "68" + "6772745f31",
		"journal key": "6a" + "6772745f31" + "0001",
		"record":      "f59b1da2" + "0000000000000007" + "800000006ae729c0" + "00000005" + "00000003" + "707562" + "7365616c6564",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("layout (-want +got):\n%s", d)
	}
	value, err := unpack(recordKey(k), pack(recordKey(k), encodeRecord(it)))
	if err != nil {
		t.Fatal(err)
	}
	back, err := decodeRecord(k, value)
	if d := cmp.Diff(it, back); d != "" || err != nil {
		t.Errorf("decoded, error %v (-want +got):\n%s", err, d)
	}
}

func TestAValueUnderAnotherKeyOrChangedIsDamaged(t *testing.T) {
	packed := pack([]byte("key"), []byte("value"))
	if _, err := unpack([]byte("other"), packed); !errors.Is(err, errDamaged) {
		t.Errorf("under another key: %v", err)
	}
	for i := range packed {
		changed := append([]byte(nil), packed...)
		changed[i] ^= 4
		if _, err := unpack([]byte("key"), changed); !errors.Is(err, errDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := unpack([]byte("key"), packed[:3]); !errors.Is(err, errDamaged) {
		t.Errorf("three bytes: %v", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encodeRecord(storage.Item{Version: 1, Public: []byte("p"), Sealed: []byte("s")}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := decodeRecord(storage.Key{}, b)
		if err == nil && len(it.Public)+len(it.Sealed)+recordFixed != len(b) {
			t.Error("bytes were lost")
		}
	})
}

func FuzzWalkLog(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 1, 1, 0, 'k', 'v', 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(name, append(make([]byte, logHeaderLen), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		end, err := walkLog(name)
		if err != nil || end.offset > int64(logHeaderLen+len(b)) {
			t.Errorf("ends at %d of %d bytes, error %v", end.offset, logHeaderLen+len(b), err)
		}
	})
}

func TestATornManifestIsToldFromADamagedOne(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	whole, err := os.ReadFile(filepath.Join(dir, dataDir, manifestFile))
	if err != nil {
		t.Fatal(err)
	}
	first := manifestHeaderLen + changeSetLen(whole[manifestHeaderLen:])
	second := first + changeSetLen(whole[first:])
	if first == manifestHeaderLen || second == first {
		t.Fatal("the manifest has no two change sets")
	}
	grown := append([]byte(nil), whole...)
	grown[first+2] = 1 // the second set's length leads past the end
	last := append([]byte(nil), whole[:second]...)
	last[first+2] = 1
	for _, row := range []struct {
		name    string
		content []byte
		damaged bool
	}{
		{"whole", whole, false},
		{"torn in a set", whole[:second-3], false},
		{"torn in a set's length", whole[:first+5], false},
		{"only its header", whole[:manifestHeaderLen], false},
		{"a length that swallows the sets after it", grown, true},
		{"the last set's length changed", last, true},
		{"half a header", whole[:4], true},
	} {
		name := filepath.Join(t.TempDir(), manifestFile)
		if err := os.WriteFile(name, row.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkManifest(name); errors.Is(err, storage.ErrCorrupt) != row.damaged {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
