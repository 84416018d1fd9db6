package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCreateFileNeverReplacesAndWriteFileDoes(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := CreateFile(name, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(name, []byte("second")); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second CreateFile: %v, want that it exists", err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "first" {
		t.Errorf("after it: %q, %v", b, err)
	}
	if err := WriteFile(name, []byte("third")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "third" {
		t.Errorf("after WriteFile: %q, %v", b, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, error %v; want the file alone", entries, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if err := WriteFile(filepath.Join(dir, "none", "file"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a missing directory: %v", err)
	}
}
