package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/storage/durable"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// errBadBackup wraps whatever makes a backup unusable.
var errBadBackup = errors.New("the backup is damaged or incomplete: use another one; nothing was changed")

// Restore makes the store of a backup in cfg.Dir, which must be missing or
// empty, or in cfg.Database, which must hold no store; the KEK must be the one of
// the store that was backed up. Either all of the backup is there afterwards, or
// cfg.Dir is as it was, or cfg.Database has no header and opens as no store. The
// restored store says so (MustQuarantine) until its grants are quarantined: whatever was rotated
// since the backup was made is unknown to it. With adopt it does not, and has a
// fresh witness: an operator vouches that no broker has run on the store since
// the backup.
func Restore(ctx context.Context, cfg Config, r io.Reader, adopt bool) (sum BackupSummary, err error) {
	if err := cfg.complete(); err != nil {
		return sum, err
	}
	if cfg.Database != nil {
		return restoreShared(ctx, cfg, r, adopt)
	}
	if empty, err := emptyDir(cfg.Dir); err != nil {
		return sum, fmt.Errorf("restoring: %w", err)
	} else if !empty {
		return sum, fmt.Errorf("restoring: %s is not empty: move it away or restore elsewhere; nothing was changed", cfg.Dir)
	}
	in, err := newChunkReader(ctx, r, &cfg)
	if err != nil {
		return sum, fmt.Errorf("restoring: %w", err)
	}
	target := filepath.Clean(cfg.Dir)
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return sum, fmt.Errorf("restoring: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(target), filepath.Base(target)+".restoring-")
	if err != nil {
		return sum, fmt.Errorf("restoring: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // does nothing once it was renamed
	cfg.Dir = tmp
	if sum, err = in.restoreInto(ctx, cfg, adopt); err != nil {
		return sum, fmt.Errorf("restoring: %w", err)
	}
	// A rename replaces an empty directory and no other.
	if err := os.Rename(tmp, target); err != nil {
		return sum, fmt.Errorf("restoring: %w", err)
	}
	return sum, durable.SyncDir(filepath.Dir(target))
}

// restoreShared restores into a database. The header comes last: what a restore
// left that was broken off is no store, and never becomes one.
func restoreShared(ctx context.Context, cfg Config, r io.Reader, adopt bool) (sum BackupSummary, err error) {
	in, err := newChunkReader(ctx, r, &cfg)
	if err != nil {
		return sum, fmt.Errorf("restoring: %w", err)
	}
	_, err = cfg.rawHeader(ctx)
	switch {
	case err == nil:
		return sum, errors.Join(fmt.Errorf("restoring: %s holds a store already: restore into another database; nothing was changed", cfg.Place()), cfg.release())
	case !errors.Is(err, os.ErrNotExist):
		return sum, errors.Join(fmt.Errorf("restoring: %w", err), cfg.release())
	}
	if sum, err = in.restoreInto(ctx, cfg, adopt); err != nil {
		return sum, fmt.Errorf("restoring: %w; before another try empty %s", err, cfg.Place())
	}
	return sum, nil
}

// chunkReader opens what chunkWriter sealed.
type chunkReader struct {
	r      io.Reader
	header header
	root   []byte
	key    []byte
	digest [sha256.Size]byte
	n      uint64
}

// newChunkReader reads up to the first chunk and unlocks the header.
func newChunkReader(ctx context.Context, r io.Reader, cfg *Config) (*chunkReader, error) {
	c := &chunkReader{r: r}
	var seen bytes.Buffer
	tee := io.TeeReader(r, &seen)
	magic := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(tee, magic); err != nil || string(magic) != backupMagic {
		return nil, errors.New("this is no backup that this Holdfast knows: use a file that holdfast backup wrote, or the newer Holdfast that wrote it; nothing was changed")
	}
	head, err := readBytes(tee, 1<<20)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(tee, make([]byte, 16)); err != nil {
		return nil, errBadBackup
	}
	c.digest = sha256.Sum256(seen.Bytes())
	const name = "the backup's header"
	if c.header, err = parseHeader(name, head); err != nil {
		return nil, err
	}
	if c.root, err = c.header.unlock(ctx, name, cfg); err != nil {
		return nil, err
	}
	c.key, err = seal.Derive(c.root, seal.ForBackup)
	return c, err
}

func readBytes(r io.Reader, limit uint32) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, errBadBackup
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > limit {
		return nil, errBadBackup
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, errBadBackup
	}
	return b, nil
}

// next opens the next chunk and says whether it is the last.
func (c *chunkReader) next() (frames []byte, last bool, err error) {
	sealed, err := readBytes(c.r, maxChunk)
	if err != nil {
		return nil, false, err
	}
	for _, last := range []bool{false, true} {
		if b, err := seal.OpenWith(c.key, sealed, chunkAD(c.digest, c.n, last)); err == nil {
			c.n++
			return b, last, nil
		}
	}
	return nil, false, errBadBackup
}

func (c *chunkReader) restoreInto(ctx context.Context, cfg Config, adopt bool) (sum BackupSummary, err error) {
	sum.StoreID = c.header.StoreID
	if !adopt {
		c.header.RestoredAt = cfg.Now().UTC().Truncate(time.Millisecond)
	}
	b, err := c.header.encode(c.root)
	if err != nil {
		return sum, err
	}
	if cfg.Database == nil {
		if err := cfg.swapHeader(ctx, nil, b); err != nil {
			return sum, err
		}
	}
	s, err := openBackend(cfg, c.header, c.root)
	if err != nil {
		return sum, errors.Join(err, cfg.release())
	}
	defer func() { err = errors.Join(err, s.backend.Close()) }()
	if err := c.loadInto(ctx, s, &sum); err != nil {
		return sum, err
	}
	if adopt && cfg.WitnessFile != "" {
		if err := s.vouch(ctx); err != nil {
			return sum, err
		}
	}
	if cfg.Database != nil {
		return sum, s.cfg.swapHeader(ctx, nil, b) // last: until then it is no store that opens
	}
	return sum, nil
}

// loadInto loads all that the backup holds.
func (c *chunkReader) loadInto(ctx context.Context, s *Store, sum *BackupSummary) error {
	loader, ok := s.backend.(Loader)
	if !ok {
		return fmt.Errorf("a %T cannot take a backup", s.backend)
	}
	for {
		frames, last, err := c.next()
		if err != nil {
			return err
		}
		end, err := load(ctx, loader, frames, sum)
		if err != nil || last != (end != nil) {
			return errors.Join(err, errBadBackup)
		}
		if !last {
			continue
		}
		if end.GetRecords() != uint64(sum.Records) || end.GetEntries() != uint64(sum.Entries) {
			return errBadBackup
		}
		return c.atEOF()
	}
}

// vouch writes the witness of a store that nobody has started.
func (s *Store) vouch(ctx context.Context) error {
	if err := s.openRing(ctx); err != nil {
		return err
	}
	p, err := s.readPast(ctx)
	if err != nil {
		return err
	}
	return s.writeWitness(witness{Epoch: p.number(), Start: string(p.start.Value), Sequence: p.sequence, Origin: p.origin})
}

func (c *chunkReader) atEOF() error {
	if _, err := io.ReadFull(c.r, make([]byte, 1)); !errors.Is(err, io.EOF) {
		return errBadBackup
	}
	return nil
}

// load writes one chunk's records and entries.
func load(ctx context.Context, l Loader, frames []byte, sum *BackupSummary) (*storagev1.BackupEnd, error) {
	var items []Item
	var entries []Entry
	r := bytes.NewReader(frames)
	for r.Len() > 0 {
		b, err := readBytes(r, maxChunk)
		if err != nil {
			return nil, err
		}
		var f storagev1.BackupFrame
		if err := proto.Unmarshal(b, &f); err != nil {
			return nil, errBadBackup
		}
		switch p := f.GetPiece().(type) {
		case *storagev1.BackupFrame_Record:
			items = append(items, fromBackup(p.Record))
		case *storagev1.BackupFrame_Entry:
			entries = append(entries, Entry{GrantID: p.Entry.GetGrantId(), Sealed: p.Entry.GetSealed()})
		case *storagev1.BackupFrame_End:
			if err := l.Load(ctx, items, entries); err != nil {
				return nil, err
			}
			sum.Records, sum.Entries = sum.Records+len(items), sum.Entries+len(entries)
			return p.End, nil
		default:
			return nil, errBadBackup
		}
	}
	sum.Records, sum.Entries = sum.Records+len(items), sum.Entries+len(entries)
	return nil, l.Load(ctx, items, entries)
}

func fromBackup(r *storagev1.BackupRecord) Item {
	return Item{
		Key: Key{Kind(r.GetKind()), r.GetId()}, Version: Version(r.GetVersion()), Due: fromTime(r.GetDue()),
		Public: r.GetPublicPart(), Sealed: r.GetSealedPart(),
	}
}
