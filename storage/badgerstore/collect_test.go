package badgerstore

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
)

// blob is sealed bytes as they are: nothing that repeats.
func blob() []byte {
	b := make([]byte, 3000)
	_, _ = rand.Read(b)
	return b
}

// filesWith counts the files below dir that hold some piece of a blob.
func filesWith(t *testing.T, dir string, blobs ...[]byte) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, b := range blobs {
			if bytes.Contains(content, b[1000:1032]) {
				n++
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func put(t *testing.T, s *Store, id string, old storage.Version, sealed, entry []byte) {
	t.Helper()
	c := storage.Change{Old: old, Item: storage.Item{Key: storage.Key{Kind: storage.KindGrant, ID: id}, Public: []byte("p"), Sealed: sealed}}
	if err := s.Swap(t.Context(), []storage.Change{c}, []storage.Entry{{GrantID: id, Sealed: entry}}); err != nil {
		t.Errorf("%s: %v", id, err)
	}
}

// Badger's own encryption is off where its files are looked through for the
// bytes; with it on, the same code must come to the same verdict.
func TestNothingIsLeftInTheFilesOfWhatWasCollected(t *testing.T) {
	for name, key := range map[string][]byte{"as it lies in the files": nil, "encrypted": testKey} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(dir, key, quiet())
			if err != nil {
				t.Fatal(err)
			}
			var gone [][]byte
			kept := blob()
			put(t, s, "kept", 0, kept, blob())
			for v := range storage.Version(8) { // each version's bytes stay behind
				record, entry := blob(), blob()
				gone = append(gone, record, entry)
				put(t, s, "gone", v, record, entry)
				put(t, s, "gone too", v, blob(), blob())
			}
			g := storage.Key{Kind: storage.KindGrant, ID: "gone"}
			if err := s.Swap(t.Context(), []storage.Change{{Old: 8, Item: storage.Item{Key: g}, Delete: true}}, nil); err != nil {
				t.Fatal(err)
			}
			if n := filesWith(t, dir, gone...); key == nil && n < len(gone) {
				t.Fatalf("the test finds %d of %d blobs that are there", n, len(gone))
			}
			left, err := s.newRemains([]storage.Key{g})
			if err != nil {
				t.Fatal(err)
			}
			if found, err := left.any(); !found || err != nil {
				t.Fatalf("nothing is found before the collection (%v)", err)
			}
			left.close()

			put(t, s, "gone", 0, blob(), blob()) // made anew: that stays
			all, err := s.Collect(t.Context(), []storage.Key{g})
			if !all || err != nil {
				t.Fatalf("collected: %v, %v", all, err)
			}
			if n := filesWith(t, dir, gone...); n != 0 {
				t.Errorf("%d blobs are left", n)
			}
			if it, err := s.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: "kept"}); err != nil || !bytes.Equal(it.Sealed, kept) {
				t.Errorf("what was kept is damaged: %v", err)
			}
			if it, err := s.Get(t.Context(), g); err != nil || it.Version != 1 {
				t.Errorf("what was made anew is gone: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := Open(dir, key, quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if it, err := again.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: "gone too"}); err != nil || it.Version != 8 {
				t.Errorf("after reopening: version %d, %v", it.Version, err)
			}
		})
	}
}
