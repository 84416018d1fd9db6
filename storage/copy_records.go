package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"

	"golang.org/x/sync/errgroup"
)

const (
	// copyPage is how many records are read at once.
	copyPage = 256
	// copyReaders is how many journals are read beside each other.
	copyReaders = 8
)

// copiedKinds is the order in which the records go over: what the others need first.
var copiedKinds = []Kind{KindRing, KindMeta, KindApp, KindConsent, KindGrant}

// whole is a record with its journal, oldest entry first.
type whole struct {
	item    Item
	entries []Entry
}

func (w *whole) size() int {
	n := len(w.item.Key.ID) + len(w.item.Public) + len(w.item.Sealed)
	for _, e := range w.entries {
		n += len(e.Sealed)
	}
	return n
}

// eachPage reads all records of a backend in a fixed order.
func eachPage(ctx context.Context, b Backend, do func([]whole) error) error {
	for _, kind := range copiedKinds {
		q := Query{Kind: kind, Limit: copyPage}
		for {
			items, err := b.List(ctx, q)
			if err == nil {
				err = ctx.Err() // not every backend looks
			}
			if err != nil {
				return fmt.Errorf("reading records: %w", err)
			}
			page, err := withJournals(ctx, b, items)
			if err == nil {
				err = do(page)
			}
			if err != nil {
				return err
			}
			if len(items) < q.Limit {
				break
			}
			q.After = items[len(items)-1].Key.ID
		}
	}
	return nil
}

func withJournals(ctx context.Context, b Backend, items []Item) ([]whole, error) {
	page := make([]whole, len(items))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(copyReaders)
	for i, it := range items {
		page[i].item = it
		if len(it.Public) == 0 { // a backend lists so what it cannot read
			return nil, errors.Join(corrupt("record "+it.Key.ID, errors.New("the backend cannot read it")), work.Wait())
		}
		if it.Key.Kind != KindGrant {
			continue
		}
		work.Go(func() error {
			entries, err := b.Events(ctx, it.Key.ID, JournalLength)
			if err != nil {
				return fmt.Errorf("reading the journal of grant %s: %w", it.Key.ID, err)
			}
			slices.Reverse(entries)
			page[i].entries = entries
			return nil
		})
	}
	return page, work.Wait()
}

// survey counts what there is to copy, and finds what can not be read, while
// nothing has been changed yet. What is compared at the end is what write reads.
func (c *copier) survey(ctx context.Context) error {
	c.progress(CopyReading, 0, 0)
	t := newTally()
	err := eachPage(ctx, c.source.backend, func(page []whole) error {
		t.add(page)
		for i := range page {
			c.bytes += uint64(page[i].size())
		}
		c.progress(CopyReading, t.records, t.records)
		return nil
	})
	c.sum.Records, c.sum.Entries, c.sum.Checksum = t.records, t.entries, t.checksum()
	return err
}

// write brings every record into the target that is not there yet.
func (c *copier) write(ctx context.Context) error {
	loader, ok := c.target.backend.(Loader)
	if !ok {
		return fmt.Errorf("a %T cannot take a copy", c.target.backend)
	}
	t := newTally()
	c.progress(CopyWriting, 0, c.sum.Records)
	err := eachPage(ctx, c.source.backend, func(page []whole) error {
		for len(page) > 0 {
			n, size := 0, 0
			for n < len(page) && (n == 0 || size+page[n].size() <= chunkSize) {
				size += page[n].size()
				n++
			}
			err := c.step("load", func() error { return c.load(ctx, loader, page[:n]) })
			if err != nil {
				return err
			}
			t.add(page[:n])
			page = page[n:]
			c.progress(CopyWriting, t.records, max(t.records, c.sum.Records)) // the start that was counted may be a record more
		}
		return nil
	})
	c.sum.Records, c.sum.Entries, c.sum.Checksum = t.records, t.entries, t.checksum()
	return err
}

// load writes records with their journals in one commit: a record that is in the
// target has its journal there, too.
func (c *copier) load(ctx context.Context, l Loader, page []whole) error {
	for range 3 {
		var items []Item
		var entries []Entry
		for i := range page {
			items, entries = append(items, page[i].item), append(entries, page[i].entries...)
		}
		if len(items) == 0 {
			return nil
		}
		err := l.Load(ctx, items, entries)
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			return err
		}
		if page, err = c.absent(ctx, page); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: records of the target come and go: let nobody else use it", ErrConflict)
}

// absent leaves out what the target holds already, which must be the same.
func (c *copier) absent(ctx context.Context, page []whole) ([]whole, error) {
	var left []whole
	for _, w := range page {
		there, err := c.target.backend.Get(ctx, w.item.Key)
		switch {
		case errors.Is(err, ErrNotFound):
			left = append(left, w)
		case err != nil:
			return nil, fmt.Errorf("looking for record %s in the target: %w", w.item.Key.ID, err)
		case !same(&there, &w.item):
			return nil, fmt.Errorf("%w: the target holds another record %s than the source: undo the copy and empty the target", ErrConflict, w.item.Key.ID)
		default:
			c.sum.Present++
		}
	}
	return left, nil
}

func same(a, b *Item) bool {
	return a.Version == b.Version && a.Due.Equal(b.Due) && bytes.Equal(a.Public, b.Public) && bytes.Equal(a.Sealed, b.Sealed)
}

// verify reads the whole target and compares it with what the source held.
func (c *copier) verify(ctx context.Context) error {
	t := newTally()
	c.progress(CopyVerifying, 0, c.sum.Records)
	err := eachPage(ctx, c.target.backend, func(page []whole) error {
		t.add(page)
		c.progress(CopyVerifying, t.records, c.sum.Records)
		return nil
	})
	if err != nil {
		return fmt.Errorf("verifying the target: %w", err)
	}
	if t.records != c.sum.Records || t.entries != c.sum.Entries || t.checksum() != c.sum.Checksum {
		return fmt.Errorf("%w: the target does not hold what the source does: %d records, %d journal entries and checksum %s, not %d, %d and %s; undo the copy and empty the target",
			ErrCorrupt, t.records, t.entries, t.checksum(), c.sum.Records, c.sum.Entries, c.sum.Checksum)
	}
	return nil
}

// tally counts records and sums them up in the order in which they come.
type tally struct {
	records, entries int
	sum              hash.Hash
}

func newTally() *tally { return &tally{sum: sha256.New()} }

func (t *tally) add(page []whole) {
	for i := range page {
		it := &page[i].item
		b := append(make([]byte, 0, 64+page[i].size()), byte(it.Key.Kind))
		b = appendBytes(b, []byte(it.Key.ID))
		b = binary.BigEndian.AppendUint64(b, uint64(it.Version))
		b = binary.BigEndian.AppendUint64(b, uint64(it.Due.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(it.Due.Nanosecond()))
		b = appendBytes(appendBytes(b, it.Public), it.Sealed)
		b = binary.BigEndian.AppendUint32(b, uint32(len(page[i].entries)))
		for _, e := range page[i].entries {
			b = appendBytes(b, e.Sealed)
		}
		t.sum.Write(b)
		t.records++
		t.entries += len(page[i].entries)
	}
}

func (t *tally) checksum() string { return hex.EncodeToString(t.sum.Sum(nil)[:16]) }
