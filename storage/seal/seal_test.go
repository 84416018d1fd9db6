package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mustRing(t *testing.T) *Ring {
	t.Helper()
	r, err := NewRing()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedDataOpensOnlyUnchangedWithItsRingAndAssociatedData(t *testing.T) {
	r := mustRing(t)
	plain, ad := []byte("a refresh token"), []byte("grant 1")
	sealed, err := r.Seal(plain, ad)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Open(sealed, ad); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("opened %q, error %v", got, err)
	}
	if _, err := r.Open(sealed, []byte("grant 2")); !errors.Is(err, ErrOpen) {
		t.Errorf("with other associated data: %v", err)
	}
	if _, err := mustRing(t).Open(sealed, ad); !errors.Is(err, ErrOpen) {
		t.Errorf("with another ring: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := r.Open(changed, ad); !errors.Is(err, ErrOpen) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
	}
}

func TestANewPrimaryKeySealsAndTheOldOneStillOpens(t *testing.T) {
	old := mustRing(t)
	before, err := old.Seal([]byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := old.WithNewPrimary()
	if err != nil {
		t.Fatal(err)
	}
	after, err := rotated.Seal([]byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rotated.Open(before, nil); err != nil {
		t.Errorf("what the old key sealed: %v", err)
	}
	if _, err := old.Open(after, nil); !errors.Is(err, ErrOpen) {
		t.Errorf("the old ring opens what the new key sealed: %v", err)
	}
	// Five bytes of prefix: 0x01 and the key's id.
	if bytes.Equal(before[:5], after[:5]) || old.Keys() != 1 || rotated.Keys() != 2 {
		t.Errorf("prefixes %x and %x, %d and %d keys", before[:5], after[:5], old.Keys(), rotated.Keys())
	}
}

func TestARingParsesOnlyWithItsKeyAndAssociatedData(t *testing.T) {
	r, key, ad := mustRing(t), NewKey(), []byte("store 1")
	blob, err := r.Marshal(key, ad)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal([]byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseRing(blob, key, ad)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Open(sealed, nil); err != nil {
		t.Errorf("the parsed ring does not open what the ring sealed: %v", err)
	}
	if _, err := ParseRing(blob, NewKey(), ad); !errors.Is(err, ErrOpen) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := ParseRing(blob, key, []byte("store 2")); !errors.Is(err, ErrOpen) {
		t.Errorf("with other associated data: %v", err)
	}
	if _, err := ParseRing(blob[:len(blob)/2], key, ad); !errors.Is(err, ErrOpen) {
		t.Errorf("half a ring: %v", err)
	}
}

func TestDerivedKeysDiffer(t *testing.T) {
	root := NewKey()
	seen := map[string]Purpose{}
	for _, p := range []Purpose{ForRing, ForBackend, ForLinks, ForHeader, ForBackup, ForWitness, ForFingerprint, ForAudit, ForPages} {
		k, err := Derive(root, p)
		if err != nil || len(k) != KeySize {
			t.Fatalf("%s: %d bytes, error %v", p, len(k), err)
		}
		if other, ok := seen[string(k)]; ok {
			t.Errorf("%q and %q give the same key", p, other)
		}
		seen[string(k)] = p
		if again, err := Derive(root, p); err != nil || !bytes.Equal(k, again) {
			t.Errorf("%q gives another key the second time", p)
		}
	}
	if _, err := Derive(root[:31], ForRing); err == nil {
		t.Error("a short root key was taken")
	}
}

func TestAFileKEKWrapsAndUnwraps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "kek")
	made, err := CreateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID() != read.ID() || !strings.HasPrefix(read.ID(), "file-") {
		t.Errorf("ids %q and %q of one key", made.ID(), read.ID())
	}
	for _, size := range []int{32, 1000} {
		key := bytes.Repeat([]byte{7}, size)
		wrapped, err := made.Wrap(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read.Unwrap(t.Context(), wrapped); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%d bytes: error %v", size, err)
		}
		wrapped[5] ^= 1
		if _, err := read.Unwrap(t.Context(), wrapped); !errors.Is(err, ErrOpen) {
			t.Errorf("a changed wrapped key: %v", err)
		}
	}
	if _, err := CreateFile(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("making it again: %v, want that it exists", err)
	}
}

func TestReadFileTakesRawAndBase64AndNamesWhatIsWrong(t *testing.T) {
	raw := bytes.Repeat([]byte{200}, KeySize)
	text := base64.StdEncoding.EncodeToString(raw)
	var id string
	for _, row := range []struct {
		name, content string
		mode          os.FileMode
		want          []string // phrases of the error; none: it is read
	}{
		{"raw", string(raw), 0o600, nil},
		{"base64", text, 0o400, nil},
		{"base64 line", text + "\n", 0o600, nil},
		{"group can read", text, 0o640, []string{"mode 0640", "run chmod 600 "}},
		{"world can read", text, 0o604, []string{"mode 0604", "run chmod 600 "}},
		{"group can write", text, 0o620, []string{"mode 0620", "run chmod 600 "}},
		{"short", "c2hvcnQ=", 0o600, []string{"holds no key", "want 32 bytes", "openssl rand -base64 32"}},
		{"empty", "", 0o600, []string{"holds no key"}},
	} {
		path := filepath.Join(t.TempDir(), "kek")
		if err := os.WriteFile(path, []byte(row.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, row.mode); err != nil {
			t.Fatal(err)
		}
		kek, err := ReadFile(path)
		if row.want == nil {
			if err != nil || (id != "" && kek.ID() != id) {
				t.Errorf("%s: error %v", row.name, err)
				continue
			}
			id = kek.ID()
			continue
		}
		for _, phrase := range append(row.want, path) {
			if err == nil || !strings.Contains(err.Error(), phrase) {
				t.Errorf("%s: the error %v lacks %q", row.name, err, phrase)
			}
		}
		if err != nil && (strings.Contains(err.Error(), text) || strings.Contains(err.Error(), row.content) && row.content != "") {
			t.Errorf("%s: the error quotes the file", row.name)
		}
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "put the key file back") {
		t.Errorf("a missing file: %v", err)
	}
}
