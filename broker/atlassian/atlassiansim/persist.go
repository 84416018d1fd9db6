package atlassiansim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// load reads the state file; no file, or no name, is an empty state.
func load(path string) (*state, error) {
	if path == "" {
		return newState(), nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newState(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the simulator's state: %w", err)
	}
	st := &state{}
	if err := json.Unmarshal(raw, st); err != nil {
		return nil, fmt.Errorf("the simulator's state file %s is damaged (%w): delete it to start empty; grants made with it need a new consent then", path, err)
	}
	if st.Version != stateVersion {
		return nil, fmt.Errorf("the simulator's state file %s has format %d, this program reads format %d: use the program that wrote it, or delete the file", path, st.Version, stateVersion)
	}
	st.rebuild()
	return st, nil
}

// save replaces the state file. The caller holds the mutex. It comes before the
// answer: a token that a client was given must be known after a SIGKILL.
func (s *Sim) save() error {
	if s.cfg.StateFile == "" {
		return nil
	}
	raw, err := json.Marshal(s.st)
	if err != nil {
		return fmt.Errorf("encoding the simulator's state: %w", err)
	}
	if err := replaceFile(s.cfg.StateFile, raw); err != nil {
		return fmt.Errorf("saving the simulator's state: %w", err)
	}
	return nil
}

// replaceFile writes beside the file, syncs and renames, so that a reader sees
// the old or the new content and never a part.
func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // fails after the rename, and may
	if _, err := tmp.Write(content); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Sync(); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
