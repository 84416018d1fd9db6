package storage

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// The layout of a backup, format version 1, integers big-endian:
//
//	"holdfast backup 1\n"
//	uint32 length, then the store's header file
//	16 bytes random id of the backup
//	chunks: uint32 length, then AES-256-GCM (nonce, ciphertext, tag) of BackupFrame
//	messages, each preceded by its length as 4 bytes; the last chunk is the one that
//	holds BackupEnd
//
// The chunks' key comes from the root key that the header wraps. Associated
// data is "holdfast backup", SHA-256 of all that stands before the chunks, the
// chunk's number as 8 bytes, and a byte that is 1 for the last chunk: a changed,
// missing, added or reordered chunk does not open. Records stay sealed inside.

const (
	backupMagic = "holdfast backup 1\n"
	// chunkSize is when a chunk is full, in bytes before sealing.
	chunkSize = 256 << 10
	// maxChunk bounds what is read at once: a full chunk and one more record.
	maxChunk = 64 << 20
)

// BackupSummary says what a backup held.
type BackupSummary struct {
	StoreID          string
	Records, Entries int
}

// Backup writes a sealed backup of the store in cfg.Dir, which must not be in
// use, or in cfg.Database, which may be: then each grant is as it was at some
// moment of the backup. Only the same KEK restores it.
func Backup(ctx context.Context, cfg Config, w io.Writer) (sum BackupSummary, err error) {
	cfg.MustExist = true
	s, err := Open(ctx, cfg)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.backup(ctx, w)
}

func (s *Store) backup(ctx context.Context, w io.Writer) (BackupSummary, error) {
	sum := BackupSummary{StoreID: s.StoreID()}
	head, err := s.cfg.rawHeader(ctx)
	if err != nil {
		return sum, err
	}
	out, err := newChunkWriter(w, head, s.root)
	if err != nil {
		return sum, err
	}
	for _, kind := range []Kind{KindRing, KindMeta, KindApp, KindConsent, KindGrant} {
		if err := eachItem(ctx, s.backend, kind, func(it Item) error { return s.backupItem(ctx, out, it, &sum) }); err != nil {
			return sum, fmt.Errorf("writing a backup: %w", err)
		}
	}
	end := &storagev1.BackupEnd{Records: uint64(sum.Records), Entries: uint64(sum.Entries)}
	if err := out.add(&storagev1.BackupFrame{Piece: &storagev1.BackupFrame_End{End: end}}); err != nil {
		return sum, fmt.Errorf("writing a backup: %w", err)
	}
	if err := out.flush(true); err != nil {
		return sum, fmt.Errorf("writing a backup: %w", err)
	}
	return sum, nil
}

func (s *Store) backupItem(ctx context.Context, out *chunkWriter, it Item, sum *BackupSummary) error {
	if len(it.Public) == 0 { // a backend lists so what it cannot read
		return corrupt("record "+it.Key.ID, errors.New("the backend cannot read it"))
	}
	entries, err := s.journalOf(ctx, &it)
	if errors.Is(err, ErrNotFound) {
		return nil // purged meanwhile
	}
	if err != nil {
		return err
	}
	rec := &storagev1.BackupRecord{
		Kind: uint32(it.Key.Kind), Id: it.Key.ID, Version: uint64(it.Version), Due: toTime(it.Due),
		PublicPart: it.Public, SealedPart: it.Sealed,
	}
	if err := out.add(&storagev1.BackupFrame{Piece: &storagev1.BackupFrame_Record{Record: rec}}); err != nil {
		return err
	}
	sum.Records++
	for _, e := range slices.Backward(entries) {
		entry := &storagev1.BackupEntry{GrantId: e.GrantID, Sealed: e.Sealed}
		if err := out.add(&storagev1.BackupFrame{Piece: &storagev1.BackupFrame_Entry{Entry: entry}}); err != nil {
			return err
		}
		sum.Entries++
	}
	return nil
}

// journalOf returns a grant's journal, and reads the grant again after it: a record
// that is older than its journal is one that somebody put back.
func (s *Store) journalOf(ctx context.Context, it *Item) (entries []Entry, err error) {
	if it.Key.Kind != KindGrant {
		return nil, nil
	}
	if entries, err = s.backend.Events(ctx, it.Key.ID, JournalLength); err != nil || s.cfg.Database == nil {
		return entries, err
	}
	*it, err = s.backend.Get(ctx, it.Key)
	return entries, err
}

// chunkWriter seals frames in chunks.
type chunkWriter struct {
	w      *bufio.Writer
	key    []byte
	digest [sha256.Size]byte
	n      uint64
	buf    []byte
}

func newChunkWriter(w io.Writer, head, root []byte) (*chunkWriter, error) {
	key, err := seal.Derive(root, seal.ForBackup)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	preamble := append(appendBytes([]byte(backupMagic), head), id...)
	c := &chunkWriter{w: bufio.NewWriter(w), key: key, digest: sha256.Sum256(preamble)}
	if _, err := c.w.Write(preamble); err != nil {
		return nil, fmt.Errorf("writing a backup: %w", err)
	}
	return c, nil
}

func chunkAD(digest [sha256.Size]byte, n uint64, last bool) []byte {
	b := appendBytes(nil, []byte("holdfast backup"))
	b = append(b, digest[:]...)
	b = binary.BigEndian.AppendUint64(b, n)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

func (c *chunkWriter) add(f *storagev1.BackupFrame) error {
	b, err := proto.Marshal(f)
	if err != nil {
		return err
	}
	if len(c.buf) > 0 && len(c.buf)+len(b) > chunkSize {
		if err := c.flush(false); err != nil {
			return err
		}
	}
	c.buf = appendBytes(c.buf, b)
	return nil
}

func (c *chunkWriter) flush(last bool) error {
	sealed, err := seal.SealWith(c.key, c.buf, chunkAD(c.digest, c.n, last))
	if err != nil {
		return err
	}
	c.n++
	c.buf = c.buf[:0]
	if _, err := c.w.Write(appendBytes(nil, sealed)); err != nil {
		return err
	}
	return c.w.Flush()
}
