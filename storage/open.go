package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// Config of a Store. Fields without another word are required.
type Config struct {
	// Dir of the store; made, mode 0700, if it does not exist.
	Dir string
	// Environment and Provider that the store belongs to: a store never serves another.
	Environment, Provider string
	// KEK that wraps the store's root key.
	KEK seal.KEK
	// Backend opens the backend below dir; key (32 bytes) is for its own encryption.
	Backend func(dir string, key []byte) (Backend, error)
	// Room returns why Backend would not take so many bytes of records in the file
	// system of dir, which exists; nil: that is not looked at. It changes nothing.
	Room func(dir string, bytes uint64) error
	// Database that several replicas share, in place of Backend: header and records
	// lie there, and Dir is this replica's own, which may be empty. Nil: none.
	Database *DatabasePlace
	// db is the open Database.
	db Database
	// MustExist makes a missing store an error; by default a missing or empty
	// Dir becomes a new store.
	MustExist bool
	// SpillSlots is how many slots of SlotSize bytes the spill files have at least: so
	// many tokens can be on their way at once. 0 means 64, which is 16 MiB.
	SpillSlots int
	// Spill is kept in place of a file in Dir, and closed with the store. For
	// tests and simulations; nil means SpillName in Dir.
	Spill SpillFile
	// WitnessFile outside of Dir tells a copy or an older state of the store from
	// the store itself. Put it on another disk if you can. Empty: none is kept.
	WitnessFile string
	// Leeway of the provider: a replica that a shared database has not heard of for
	// twice as long is not waited for after a fail-over. 0 means 10 minutes.
	Leeway time.Duration
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// Log; nil means slog.Default().
	Log *slog.Logger
}

func (c *Config) complete() error {
	var errs []error
	for _, f := range []struct {
		missing bool
		name    string
	}{
		{c.Dir == "", "Dir"}, {c.Environment == "", "Environment"}, {c.Provider == "", "Provider"},
		{c.Backend == nil && c.Database == nil, "Backend"},
	} {
		if f.missing {
			errs = append(errs, fmt.Errorf("store configuration: %s is missing", f.name))
		}
	}
	if c.KEK == nil {
		errs = append(errs, errors.New("store configuration: missing KEK: configure the key file that wraps the store's root key"))
	}
	if c.WitnessFile != "" && witnessInside(c.WitnessFile, c.Dir) {
		errs = append(errs, fmt.Errorf("store configuration: the witness %s lies in the store's directory, with which it would be copied: put it elsewhere", c.WitnessFile))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.SpillSlots == 0 {
		c.SpillSlots = defaultSpillSlots
	}
	return errors.Join(errs...)
}

// Store keeps grants, consents and a few small values, sealed, over a Backend.
// It is safe for concurrent use.
type Store struct {
	cfg     Config
	backend Backend
	keys    atomic.Pointer[keyRing]
	// rekeying is held while the ring is changed, and by a pass, which takes long:
	// no mutex, since who waits for it has a deadline.
	rekeying *semaphore.Weighted
	root     []byte
	linkKey  []byte
	// printKey keys fingerprints; auditSeed signs checkpoints; pageKey seals page tokens.
	printKey, auditSeed, pageKey []byte

	epoch  uint64
	header atomic.Pointer[header]
	// looked is the newest look at the header in a database.
	looked atomic.Pointer[look]
	// toldKEK is the KEK that the log has told of.
	toldKEK atomic.Pointer[string]
	spill   *Spill
	damaged damageList
	// refused counts what was read and did not open as what its key says.
	refused atomic.Uint64
	finding atomic.Pointer[string]
	keeper  keeper
	// failover is nil where the backend is no database that fails over.
	failover *failover
}

// Open opens the store in cfg.Dir, or in cfg.Database, where several replicas may
// do so at once. The header is checked before the backend is touched: a wrong
// KEK, environment, provider or format is an error that says so and changes
// nothing on disk.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	h, root, err := openHeader(ctx, &cfg)
	if err != nil {
		return nil, errors.Join(err, cfg.release())
	}
	s, err := openBackend(cfg, h, root)
	if err != nil {
		return nil, errors.Join(err, cfg.release())
	}
	err = s.start(ctx)
	if err == nil {
		s.openKept()
		err = s.openSpill(ctx)
	}
	if err == nil {
		if err = s.openFailover(ctx); err != nil {
			err = errors.Join(err, closeSpill(s.spill.files))
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.backend.Close())
	}
	s.dropKept()
	s.keepWitness()
	return s, nil
}

func openHeader(ctx context.Context, cfg *Config) (header, []byte, error) {
	h, err := readHeader(ctx, cfg)
	if errors.Is(err, os.ErrNotExist) {
		if cfg.MustExist {
			return h, nil, fmt.Errorf("there is no store in %s: correct the directory or run holdfast restore", cfg.Place())
		}
		var root []byte
		if h, root, err = createHeader(ctx, cfg); !errors.Is(err, ErrConflict) {
			if err == nil {
				cfg.Log.Info("there was no store, so an empty one was made; one that is elsewhere is brought here by holdfast store copy, to an empty place",
					"place", cfg.Place(), "store", h.StoreID)
			}
			return h, root, err
		}
		h, err = readHeader(ctx, cfg) // another replica was first
	}
	if err != nil {
		return h, nil, err
	}
	root, err := h.unlock(ctx, cfg.headerName(), cfg)
	if err == nil {
		err = h.mayOpen(cfg.headerName())
	}
	return h, root, err
}

func openBackend(cfg Config, h header, root []byte) (*Store, error) {
	s := &Store{cfg: cfg, root: root, rekeying: semaphore.NewWeighted(1)}
	s.header.Store(&h)
	backendKey, err := seal.Derive(root, seal.ForBackend)
	if err != nil {
		return nil, err
	}
	if s.linkKey, err = seal.Derive(root, seal.ForLinks); err != nil {
		return nil, err
	}
	if s.printKey, err = seal.Derive(root, seal.ForFingerprint); err != nil {
		return nil, err
	}
	if s.auditSeed, err = seal.Derive(root, seal.ForAudit); err != nil {
		return nil, err
	}
	if s.pageKey, err = seal.Derive(root, seal.ForPages); err != nil {
		return nil, err
	}
	if cfg.Database != nil {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("making this replica's directory: %w", err)
		}
		if err := s.cfg.connect(context.Background(), false); err != nil {
			return nil, err
		}
		s.backend = s.cfg.db
		return s, nil
	}
	if s.backend, err = cfg.Backend(cfg.Dir, backendKey); err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", cfg.Dir, err)
	}
	return s, nil
}

// start reads or makes the key ring, compares the store with its witness and
// counts this start.
func (s *Store) start(ctx context.Context) error {
	if err := s.openRing(ctx); err != nil {
		return err
	}
	if s.cfg.Database != nil {
		return s.startShared(ctx)
	}
	return s.startOnce(ctx)
}

func (s *Store) startOnce(ctx context.Context) error {
	p, err := s.readPast(ctx)
	if err != nil {
		return err
	}
	if err := s.find(ctx, p); err != nil {
		return err
	}
	if err := s.countStart(ctx, p); err != nil {
		return err
	}
	crashpoint.At(crashpoint.StoreOpened)
	return nil
}

// StoreID is the random id of the store; a copy and a restored backup keep it.
func (s *Store) StoreID() string { return s.header.Load().StoreID }

// Epoch counts the starts of the store, this one included.
func (s *Store) Epoch() uint64 { return s.epoch }

// LinkKey is the key, 32 bytes, that signs consent links. Do not change it.
func (s *Store) LinkKey() []byte { return s.linkKey }

// FingerprintKey is the key, 32 bytes, of the fingerprints of access tokens. It
// stays the same as long as the store's root key does. Do not change it.
func (s *Store) FingerprintKey() []byte { return s.printKey }

// AuditSeed is the seed, 32 bytes, of the Ed25519 key that signs the audit
// record's checkpoints. Do not change it.
func (s *Store) AuditSeed() []byte { return s.auditSeed }

// PageKey is the key, 32 bytes, that seals the page tokens of listings. Do not change it.
func (s *Store) PageKey() []byte { return s.pageKey }

// Health proves that the store can be written now, and that no copy of it has
// taken its witness; an error says why not.
func (s *Store) Health(ctx context.Context) error {
	if err := errors.Join(s.witnessed(), s.failover.healthy(ctx), s.stillHere(ctx)); err != nil {
		return err
	}
	return s.backend.Health(ctx)
}

// Spill is where settlements wait that cannot be stored.
func (s *Store) Spill() *Spill { return s.spill }

// MustReopen returns why the store can not be used until it is opened again, as
// after a failed sync; nil: it can. The error is ErrReopen. It never blocks.
func (s *Store) MustReopen() error {
	if b, ok := s.backend.(interface{ MustReopen() error }); ok {
		return b.MustReopen()
	}
	return nil
}

// Close releases the store. No call may be under way.
func (s *Store) Close() error {
	s.stopWitness()
	// The backend's lock goes last: whoever gets it finds the spill file free.
	return errors.Join(s.failover.close(), closeSpill(s.spill.files), s.backend.Close())
}

func newStoreID() string { return "str_" + strings.ToLower(rand.Text()) }
