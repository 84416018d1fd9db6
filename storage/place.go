package storage

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// HeaderKeeper is the part of a Backend that keeps the store's header as well.
type HeaderKeeper interface {
	// Header returns the store's header, or ErrNotFound.
	Header(ctx context.Context) ([]byte, error)
	// SwapHeader puts now in the place of was, nil: of none. The errors are Swap's.
	SwapHeader(ctx context.Context, was, now []byte) error
}

// Database is a Backend that several replicas open at once; nothing of the store
// but spill, witness and logs of one replica lies elsewhere.
type Database interface {
	Backend
	HeaderKeeper
}

// Rehearser is the part of a Database that was opened to look which foresees
// whether it could be used.
type Rehearser interface {
	// Rehearse returns why opening it other than to look would be refused, or, if it
	// is to take records, writes after that, as far as it can be found out without a change.
	Rehearse(ctx context.Context, taking bool) error
}

// DatabasePlace says which Database a store is in.
type DatabasePlace struct {
	// Name of the place for people, without secrets.
	Name string
	// Open connects. With look it must change nothing, nor will its caller.
	Open func(ctx context.Context, look bool) (Database, error)
}

// Place is where the store of the configuration lies, for people.
func (c *Config) Place() string {
	if c.Database != nil {
		return c.Database.Name
	}
	return c.Dir
}

// connect opens the database, if the store is in one and it is not open yet. It
// becomes the backend of the store that is made of the configuration; release
// closes it if none was.
func (c *Config) connect(ctx context.Context, look bool) error {
	if c.Database == nil || c.db != nil {
		return nil
	}
	db, err := c.Database.Open(ctx, look)
	if err != nil {
		return fmt.Errorf("opening the store in %s: %w", c.Place(), err)
	}
	c.db = db
	return nil
}

// rehearse returns why the store's database could not be used, whether there is a
// store in it or not; nil for one in a directory.
func (c *Config) rehearse(ctx context.Context, taking bool) error {
	db, ok := c.db.(Rehearser)
	if !ok {
		return nil
	}
	return db.Rehearse(ctx, taking)
}

func (c *Config) release() error {
	if c.db == nil {
		return nil
	}
	return c.db.Close()
}

// headerName is the header's name for people.
func (c *Config) headerName() string {
	if c.Database != nil {
		return "the header of the store in " + c.Database.Name
	}
	return filepath.Join(c.Dir, HeaderFile)
}

// rawHeader reads the header; os.ErrNotExist: there is no store.
func (c *Config) rawHeader(ctx context.Context) ([]byte, error) {
	if c.Database == nil {
		return readHeaderFile(c.Dir)
	}
	if err := c.connect(ctx, false); err != nil {
		return nil, err
	}
	b, err := c.db.Header(ctx)
	if errors.Is(err, ErrNotFound) {
		if err := c.headerless(ctx); err != nil {
			return nil, err
		}
		return nil, os.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.headerName(), err)
	}
	return b, nil
}

// headerless is an error if there are records without a header.
func (c *Config) headerless(ctx context.Context) error {
	for _, k := range []Kind{KindRing, KindMeta, KindGrant, KindConsent, KindApp} {
		items, err := c.db.List(ctx, Query{Kind: k, Limit: 1})
		if err != nil {
			return fmt.Errorf("looking for records: %w", err)
		}
		if len(items) == 0 {
			continue
		}
		// Another replica may be making the store at this moment: then its header is there by now.
		if _, err := c.db.Header(ctx); errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: %s is missing but there are records in it: restore the database, or give the store an empty one; nothing was changed", ErrCorrupt, c.headerName())
		}
	}
	return nil
}

// swapHeader makes the header (was is nil) or replaces it. Whoever replaces that
// of a store in a directory holds its backend's lock.
func (c *Config) swapHeader(ctx context.Context, was, now []byte) error {
	if c.Database != nil {
		return c.swapHeaderIn(ctx, was, now)
	}
	name := filepath.Join(c.Dir, HeaderFile)
	if was != nil {
		return durable.WriteFile(name, now)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("making the store's directory: %w", err)
	}
	return durable.CreateFile(name, now)
}

func (c *Config) swapHeaderIn(ctx context.Context, was, now []byte) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("making this replica's directory: %w", err)
	}
	if err := c.connect(ctx, false); err != nil {
		return err
	}
	err := c.db.SwapHeader(ctx, was, now)
	if errors.Is(err, ErrUnknown) {
		if there, rerr := c.db.Header(ctx); rerr == nil && bytes.Equal(there, now) {
			return nil
		}
	}
	return err
}

// headerTimeout bounds a change of the header in a database.
const headerTimeout = 30 * time.Second

// changeHeader replaces the store's header by an edited one. Other replicas may
// change it too; each change is made to what the others left.
func (s *Store) changeHeader(edit func(*header)) error {
	ctx, cancel := context.WithTimeout(context.Background(), headerTimeout)
	defer cancel()
	var err error
	for range 8 {
		var h header
		var was, now []byte
		if h, was, err = s.headerNow(ctx); err != nil {
			return err
		}
		edit(&h)
		if now, err = h.encode(s.root); err != nil {
			return err
		}
		if err = s.cfg.swapHeader(ctx, was, now); err == nil {
			s.header.Store(&h)
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return fmt.Errorf("replacing %s: %w", s.cfg.headerName(), err)
}

// headerNow is the header to change: of a store in a directory, which belongs to
// this process, the one that it has; else the one that is there.
func (s *Store) headerNow(ctx context.Context) (h header, raw []byte, err error) {
	if s.cfg.Database == nil {
		return *s.header.Load(), []byte{}, nil
	}
	if raw, err = s.cfg.rawHeader(ctx); err != nil {
		return h, nil, err
	}
	if h, err = parseHeader(s.cfg.headerName(), raw); err != nil {
		return h, nil, err
	}
	if want, err := h.mac(s.root); err != nil || !hmac.Equal(want, h.MAC) {
		return h, nil, errors.Join(damagedHeader(s.cfg.headerName()), err)
	}
	return h, raw, nil
}

// headerEvery is how often a store in a database looks at its header.
const headerEvery = 5 * time.Second

// look at the header of a store in a database.
type look struct {
	at time.Time
	// ring is the version of the key ring that was known when the look began: who
	// moves a store away marks the header and then stores the ring anew.
	ring Version
	// gone says why the store may not be used any more; nil: it may.
	gone error
}

// stillHere is an error if somebody has moved the store away meanwhile. It takes
// over what else other replicas have changed in the header.
func (s *Store) stillHere(ctx context.Context) error {
	if s.cfg.Database == nil {
		return nil
	}
	now, ring := s.cfg.Now(), s.keys.Load().version
	l := s.looked.Load()
	if l == nil || l.ring < ring || now.Sub(l.at) >= headerEvery || now.Before(l.at) {
		h, _, err := s.headerNow(ctx)
		if err != nil {
			return err
		}
		s.header.Store(&h)
		l = &look{now, ring, h.mayOpen(s.cfg.headerName())}
		s.looked.Store(l)
	}
	if l.gone != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, l.gone)
	}
	return nil
}

// expel has every other replica of a store in a database look at its header
// before anything more of it is stored; what was under way is done when it returns.
func (s *Store) expel(ctx context.Context) error {
	if s.cfg.Database == nil {
		return nil
	}
	for {
		if err := s.readRing(ctx); err != nil {
			return err
		}
		k := s.keys.Load()
		same, err := s.ringChange(k.ring, k.version)
		if err != nil {
			return err
		}
		if err := s.backend.Swap(ctx, []Change{same}, nil); err == nil {
			return s.backend.Reseal(ctx, nil)
		} else if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
