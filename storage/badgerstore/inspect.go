package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-io/holdfast/storage"
)

// What Badger does with a damaged file at open, and what is done about it here:
//
//	write-ahead log (.mem)    ends silently at the first entry that does not check
//	newest value log (.vlog)  is cut off there
//	MANIFEST                  ends silently at a length that leads past its end; tables
//	                          that it then does not name are deleted
//	MANIFEST missing          is taken for a new database; all tables are deleted
//	tables (.sst)             are refused, but after other files were changed
//	older value logs          are noticed when the value is read; collecting them, however,
//	                          keeps only what stands before the damage
//
// So Badger is let near its files only once they have been proven whole: after
// a clean close by the inventory (inventory.go), after a crash by a trial on a
// copy (trial.go), and before a collection by walking the log (logwalk.go).

// inspect decides whether Badger may open its files. It changes nothing unless it may.
func (s *Store) inspect(key []byte) error {
	seen, known, err := readWitness(s.dir)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(s.data())
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(files) == 0) {
		if seen > 0 {
			return lostCommits(s.data(), 0, seen)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the store's directory: %w", err)
	}
	if !known {
		name := filepath.Join(s.dir, witnessFile)
		return fmt.Errorf("%w: %s is missing: put it back from a copy; or, if no other file of the store was touched, make an empty one with touch %[2]s; nothing was changed",
			storage.ErrCorrupt, name)
	}
	inv, err := readInventory(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return s.inspectCrashed(key, seen)
	}
	if err == nil {
		err = inv.verify(s.data())
	}
	if err == nil && inv.Commits < seen {
		err = lostCommits(s.data(), inv.Commits, seen)
	}
	if err != nil {
		return err
	}
	// From now on the inventory is no longer true.
	return removeInventory(s.dir)
}

const (
	manifestFile = "MANIFEST"
	lockFile     = "LOCK"
	// discardFile only advises the garbage collection, which looks at every
	// entry itself before it drops one. Damage to it costs nothing.
	discardFile = "DISCARD"
)

// suffixes of Badger's files.
const (
	tableSuffix    = ".sst"
	valueLogSuffix = ".vlog"
	writeLogSuffix = ".mem"
)

// isData reports whether Badger would take a file of this name for its own.
func isData(name string) bool {
	return strings.HasSuffix(name, tableSuffix) || strings.HasSuffix(name, valueLogSuffix) ||
		strings.HasSuffix(name, writeLogSuffix) || strings.HasPrefix(name, manifestFile) || name == "KEYREGISTRY"
}

// dataFiles returns the names of Badger's files in order.
func dataFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the store's directory: %w", err)
	}
	var names []string
	for _, e := range entries {
		if isData(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// valueLogs returns the names of the value log's files, the newest last: their
// numbers are padded with zeros.
func valueLogs(names []string) []string {
	logs := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, valueLogSuffix) })
	slices.Sort(logs)
	return logs
}

// inspectCrashed looks at a store that was not closed. Torn ends of the newest
// commit are normal then; anything else is damage.
func (s *Store) inspectCrashed(key []byte, seen uint64) error {
	names, err := dataFiles(s.data())
	if err != nil {
		return err
	}
	name := filepath.Join(s.data(), manifestFile)
	if !slices.Contains(names, manifestFile) {
		if seen == 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, tableSuffix) }) {
			return nil // the crash came before there was anything
		}
		return fmt.Errorf("%w: %s is missing; %s; nothing was changed", storage.ErrCorrupt, name, wayOut)
	}
	if err := checkManifest(name); err != nil {
		return err
	}
	names, empty, err := splitEmpty(s.data(), names)
	if err != nil {
		return err
	}
	readAll := false
	if logs := valueLogs(names); len(logs) > 0 {
		end, err := walkLog(filepath.Join(s.data(), logs[len(logs)-1]))
		if err != nil {
			return err
		}
		readAll = !end.clean
	}
	if err := s.trial(key, names, seen, readAll); err != nil {
		return err
	}
	for _, n := range empty {
		if err := os.Remove(filepath.Join(s.data(), n)); err != nil {
			return fmt.Errorf("removing an empty file after a crash: %w", err)
		}
	}
	return nil
}

// splitEmpty sets files apart that a crash left empty between their making and
// their first byte: Badger does not open with one.
func splitEmpty(dir string, names []string) (full, empty []string, err error) {
	for _, n := range names {
		info, err := os.Stat(filepath.Join(dir, n))
		if err != nil {
			return nil, nil, fmt.Errorf("reading the store's files: %w", err)
		}
		if info.Size() == 0 {
			empty = append(empty, n)
		} else {
			full = append(full, n)
		}
	}
	return full, empty, nil
}
