package badgerstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/storage"
)

// trialDir is where a crashed store is opened first.
const trialDir = "badger-trial"

// trial opens the files, as Badger would leave them after mending, and looks
// whether all that was acknowledged is still there. Badger opens them for
// reading only, so tables and value logs need no copy: they are linked. (Opened
// for writing, Badger truncates a file before it unlinks it.)
func (s *Store) trial(key []byte, names []string, seen uint64, readAll bool) (err error) {
	dir := filepath.Join(s.dir, trialDir)
	if err := os.RemoveAll(dir); err != nil { // of a trial that crashed
		return fmt.Errorf("preparing to check the store after a crash: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := s.cloneFiles(dir, names); err != nil {
		return fmt.Errorf("copying files to check the store after a crash: %w", err)
	}
	log := &logger{log: slog.New(slog.DiscardHandler)} // what Badger mends in a copy is no news
	db, err := openGuarded(s.opts.badgerOptions(dir, key, log).WithReadOnly(true))
	if err != nil {
		return s.damagedFiles(err, dir)
	}
	n, err := readCommits(db)
	if err == nil && n < seen {
		err = lostCommits(s.data(), n, seen)
	}
	if err == nil && readAll {
		if err = readValues(db); err != nil {
			err = s.damagedFiles(err, dir)
		}
	}
	return errors.Join(err, db.Close())
}

func (s *Store) damagedFiles(err error, dir string) error {
	// The error names a file of the copy; people look for the original.
	text := strings.ReplaceAll(err.Error(), dir, s.data())
	return fmt.Errorf("%w: the files in %s are damaged: %s; %s; nothing was changed", storage.ErrCorrupt, s.data(), text, wayOut)
}

// openGuarded turns Badger's panics on malformed files into errors.
func openGuarded(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("badger panicked: %v", p)
		}
	}()
	return badger.Open(o)
}

// readValues reads every value, so that none is missing from a cut-off log.
func readValues(db *badger.DB) error {
	return db.View(func(txn *badger.Txn) error {
		// Keys alone: a value that Badger fetches ahead in a goroutine of its own, and
		// that is damaged, panics there once the trial is closed.
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			if key[0] == duePrefix {
				continue
			}
			if _, err := get(txn, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) cloneFiles(dir string, names []string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	logs := valueLogs(names)
	for _, n := range names {
		if err := cloneFile(filepath.Join(s.data(), n), filepath.Join(dir, n), logs); err != nil {
			return err
		}
	}
	return nil
}

// cloneFile links or copies one file; the write-ahead logs and the newest of
// the value logs only up to where Badger would cut them off.
func cloneFile(from, to string, logs []string) error {
	writeLog := strings.HasSuffix(from, writeLogSuffix)
	if writeLog || filepath.Base(from) == logs[len(logs)-1] {
		end, err := walkLog(from)
		if err != nil || (writeLog && end.offset == logHeaderLen) {
			return err // an empty write-ahead log is left out
		}
		if writeLog || !end.clean {
			return copySparse(from, to, end.offset)
		}
	}
	if strings.HasSuffix(from, tableSuffix) || strings.HasSuffix(from, valueLogSuffix) {
		if os.Link(from, to) == nil {
			return nil // else a file system without links
		}
	}
	return copySparse(from, to, math.MaxInt64)
}

// copySparse copies at most n bytes and leaves holes where there are zeros:
// Badger makes its logs as long as they may become.
func copySparse(from, to string, n int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = copyHoles(out, io.LimitReader(in, n))
	return errors.Join(err, out.Close())
}

func copyHoles(out *os.File, in io.Reader) error {
	buf := make([]byte, 1<<16)
	var size int64
	for {
		n, err := in.Read(buf)
		if n > 0 && !allZero(buf[:n]) {
			if _, err := out.WriteAt(buf[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}
