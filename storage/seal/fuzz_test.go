package seal

import (
	"bytes"
	"testing"
)

func FuzzKEKFile(f *testing.F) {
	f.Add(make([]byte, KeySize))
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, ok := parseKEK(b); ok && len(key) != KeySize {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	})
}

// FuzzRing: nothing but what was sealed opens.
func FuzzRing(f *testing.F) {
	key, ad := bytes.Repeat([]byte{1}, KeySize), []byte("ad")
	f.Add([]byte{}, key)
	f.Add(bytes.Repeat([]byte{7}, 200), key)
	f.Fuzz(func(t *testing.T, sealed, key []byte) {
		if _, err := ParseRing(sealed, key, ad); err == nil {
			t.Error("bytes that nobody sealed were opened as a ring")
		}
	})
}
