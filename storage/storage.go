package storage

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
)

// Address names a grant: who (tenant, subject) for what (product), and which
// one of several (name).
type Address struct{ Tenant, Subject, Product, Name string }

// DefaultName is the name of a grant that has no other.
const DefaultName = "default"

var segment = regexp.MustCompile(`^[A-Za-z0-9@._+-]{1,128}$`)

// ParseAddress parses "tenant/subject/product" or "tenant/subject/product/name".
func ParseAddress(s string) (Address, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 3 {
		parts = append(parts, DefaultName)
	}
	if len(parts) != 4 {
		return Address{}, fmt.Errorf("address %q: want tenant/subject/product or tenant/subject/product/name", s)
	}
	a := Address{parts[0], parts[1], parts[2], parts[3]}
	return a, a.Validate()
}

// Validate reports the first segment that does not match [A-Za-z0-9@._+-]{1,128}.
func (a Address) Validate() error {
	for _, p := range []struct{ name, value string }{
		{"tenant", a.Tenant}, {"subject", a.Subject}, {"product", a.Product}, {"name", a.Name},
	} {
		if !segment.MatchString(p.value) {
			return fmt.Errorf("%s %q: want 1 to 128 of the characters A-Z a-z 0-9 @ . _ + -", p.name, p.value)
		}
	}
	return nil
}

// String returns the address with its name left out where it is the default.
func (a Address) String() string {
	s := a.Tenant + "/" + a.Subject + "/" + a.Product
	if a.Name != DefaultName {
		s += "/" + a.Name
	}
	return s
}

// GrantID returns the stable id of the grant at a: "grt_" and the first 130
// bits of the SHA-256 of the address in lower-case base32. It is derived, so
// that an address can never belong to two grants and no second index can
// disagree with the first.
func (a Address) GrantID() string {
	sum := sha256.Sum256([]byte("holdfast grant v1\x00" + a.Tenant + "\x00" + a.Subject + "\x00" + a.Product + "\x00" + a.Name))
	return "grt_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))[:26]
}

// Version of a record; 0 is a record that does not exist, the first is 1.
type Version uint64

// Site is one Atlassian site that a grant reaches.
type Site struct {
	CloudID string
	Name    string
	URL     string
	Scopes  []string
}

// Grant is one grant as the broker sees it. ID, Address, App, Account and of
// State the phase, generation and fence, and Due, are its public part, which a
// backend may index; all the rest is sealed.
type Grant struct {
	ID      string
	Address Address
	// App is the id of the app in the configuration.
	App string
	// Account is the provider's stable account id, pinned by the first consent.
	Account   string
	CreatedAt time.Time
	// Due is when the grant next wants attention (zero: never).
	Due   time.Time
	Sites []Site
	State family.State
	// ReauthAllowed is set by StartReauth: a revoked grant takes a consent again.
	ReauthAllowed bool
	// ProviderRevocation is what became of a revoked family's refresh token at the
	// provider, in the contract's word; empty: it was not asked.
	ProviderRevocation string
	// Version of the record that this was read from; set by the store.
	Version Version
	// Floor of the version of a new one; NewGrant sets it.
	Floor Version
	// FloorOf is the value that Floor was read from, where replicas share the store: set by NewGrant.
	FloorOf *Meta
}

// ConsentStatus is where one consent stands. Stored as text.
type ConsentStatus string

// The statuses of a consent. All but the first four are final.
const (
	ConsentPending    ConsentStatus = "PENDING"            // link made, nobody has pressed continue
	ConsentAtProvider ConsentStatus = "AT_PROVIDER"        // browser was sent to the provider
	ConsentExchanging ConsentStatus = "EXCHANGING"         // the code's exchange is announced
	ConsentConfirm    ConsentStatus = "NEEDS_CONFIRMATION" // the new family would lose scopes or sites

	ConsentDone            ConsentStatus = "DONE"
	ConsentDenied          ConsentStatus = "DENIED"
	ConsentExpired         ConsentStatus = "EXPIRED"
	ConsentNoOfflineAccess ConsentStatus = "NO_OFFLINE_ACCESS"
	ConsentWrongAccount    ConsentStatus = "WRONG_ACCOUNT"
	ConsentWrongProduct    ConsentStatus = "WRONG_PRODUCT"
	ConsentMissingScopes   ConsentStatus = "MISSING_SCOPES"
	ConsentCodeRefused     ConsentStatus = "CODE_REFUSED"
	ConsentExchangeInDoubt ConsentStatus = "EXCHANGE_IN_DOUBT"
	ConsentProviderError   ConsentStatus = "PROVIDER_ERROR"
	ConsentMisconfigured   ConsentStatus = "APP_MISCONFIGURED"
	ConsentDiscarded       ConsentStatus = "DISCARDED"  // a person declined the confirmation
	ConsentSuperseded      ConsentStatus = "SUPERSEDED" // the grant changed meanwhile
)

// Consent is one consent on its way. All of it but ID, Status and ExpiresAt is sealed.
type Consent struct {
	ID        string
	Address   Address
	App       string
	Scopes    []string
	Status    ConsentStatus
	CreatedAt time.Time
	ExpiresAt time.Time
	// StartedBy is the caller that asked for the link.
	StartedBy string
	ReturnURL string
	// StateHash and CookieHash are SHA-256 of the state parameter and of the browser's cookie.
	StateHash, CookieHash []byte
	Verifier              secret.String // PKCE
	AttemptID             string        // of the announced exchange
	// Pending is the family that waits for a person's confirmation.
	Pending *PendingFamily
	// Account that consented, once known.
	Account string
	// Detail is a sentence for GetConsent and the page; never provider text.
	Detail  string
	Version Version
}

// PendingFamily is a consented family that is not yet swapped in.
type PendingFamily struct {
	Pair       family.Pair
	ReceivedAt time.Time
	Account    string
	Sites      []Site
	// LostScopes and LostSites are what the grant would lose.
	LostScopes []string
	LostSites  []Site
}

// Filter narrows a listing; empty fields match everything.
type Filter struct {
	Tenant, Product string
	Phase           family.Phase
	// App and Account match the public part.
	App, Account string
	// DueBefore, if set, lists in order of Due only grants due before it.
	DueBefore time.Time
	// After is the id of the last grant of the previous page.
	After string
	// Limit of the page; 0 means 100, 1000 is the maximum.
	Limit int
}

// Errors that a Store and a Backend return, compared with errors.Is.
var (
	// ErrNotFound: no record under that key.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the record's version is not the expected one; nothing was written.
	ErrConflict = errors.New("conflict")
	// ErrUnknown: the swap may or may not be durable; re-read before anything else.
	ErrUnknown = errors.New("outcome unknown")
	// ErrCorrupt: a record does not open, or not as what its key says.
	ErrCorrupt = errors.New("corrupt record")
	// ErrUnavailable: the store cannot be reached or written; try later.
	ErrUnavailable = errors.New("store unavailable")
	// ErrReopen comes together with ErrUnavailable: a sync has failed, and until
	// the store is opened again nothing that it says may be trusted.
	ErrReopen = errors.New("the store must be reopened: restart Holdfast")
)

// Kind of a record.
type Kind byte

// The kinds of records. The numbers are stored.
const (
	KindGrant   Kind = 1
	KindConsent Kind = 2
	KindApp     Kind = 3
	KindRing    Kind = 4
	KindMeta    Kind = 5
)

// Key of a record.
type Key struct {
	Kind Kind
	ID   string
}

// Item is a record as a backend keeps it.
type Item struct {
	Key     Key
	Version Version
	// Public is the record's public part, stored verbatim: it is associated data.
	Public []byte
	// Sealed is opaque to the backend.
	Sealed []byte
	// Due places a grant in the due index; zero: not in it.
	Due time.Time
}

// Change is one record of a swap: it applies if the record's present version is
// Old. The backend stores Item under version Old+1. Delete removes the record instead.
type Change struct {
	Old    Version
	Item   Item
	Delete bool
	// Check only compares the version and writes nothing. It is compared at some
	// moment of the call; what the swap writes comes before any Reseal that begins
	// once the record has another version.
	Check bool
	// Floor of a record that is made (Old is 0): it is stored under version Floor+1,
	// so that it is not mistaken for one that was deleted.
	Floor Version
}

// Next is the version under which the change stores its item.
func (c *Change) Next() Version {
	if c.Old == 0 {
		return c.Floor + 1
	}
	return c.Old + 1
}

// Entry is one journal entry of a grant, sealed.
type Entry struct {
	GrantID string
	// Seq is assigned by the backend, growing per grant, from 1.
	Seq    uint64
	Sealed []byte
}

// Reseal replaces the sealed bytes of a record, or of a journal entry, by others
// that hold the same.
type Reseal struct {
	// Key of the record; of the grant whose journal entry it is, if Seq is not 0.
	Key Key
	Seq uint64
	// Was are the present bytes and Now the new ones.
	Was, Now []byte
}

// Query lists records of one kind in order of id, or of due time if DueBefore is set.
type Query struct {
	Kind      Kind
	After     string
	DueBefore time.Time
	// Limit > 0.
	Limit int
}

// Backend keeps sealed records. It is safe for concurrent use. Everything that
// Swap reports as committed survives a crash of the machine.
type Backend interface {
	// Get returns the record, or ErrNotFound.
	Get(ctx context.Context, key Key) (Item, error)
	// Swap applies all changes and appends all entries, or none: nil means
	// durable, ErrConflict that nothing was written, ErrUnknown that the
	// caller must re-read, any other error that nothing was written.
	Swap(ctx context.Context, changes []Change, entries []Entry) error
	// List returns at most Limit records.
	List(ctx context.Context, q Query) ([]Item, error)
	// Events returns the newest limit (at most 64) entries of a grant, newest first.
	Events(ctx context.Context, grantID string, limit int) ([]Entry, error)
	// Reseal replaces all of the named bytes, or none; nothing else changes, the
	// versions neither, so that no swap conflicts with it. ErrConflict if
	// something is gone or not as it Was. The other errors are those of Swap.
	// When a call returned nil, every Swap that returned before the call began,
	// whatever it returned, has happened or never will: an empty list waits for that alone.
	Reseal(ctx context.Context, list []Reseal) error
	// Health proves that the backend can be written now; an error says why not.
	Health(ctx context.Context) error
	// Close releases everything. No call may be under way.
	Close() error
}

// Snapshotter is the part of a Backend that reads a grant and its newest journal
// entry at once, which is cheaper than one after the other.
type Snapshotter interface {
	// Newest returns what Get and Events(1) would return at one moment. The errors are those of Get.
	Newest(ctx context.Context, grantID string) (Item, []Entry, error)
}

// Collector is the part of a Backend whose files keep what was deleted until they
// are rewritten.
type Collector interface {
	// Collect rewrites files until nothing is left in them of what was stored under
	// the keys, journals included, and was deleted before the call. True: it has
	// verified that. False: something is left. It may take minutes; ctx ends only
	// the waiting, with ctx's error.
	Collect(ctx context.Context, gone []Key) (bool, error)
}

// Loader is the part of a Backend that a restored backup goes in by.
type Loader interface {
	// Load writes records under the versions that they have, and appends
	// entries, oldest first. ErrConflict if a record exists already. It is
	// durable like Swap, but only each call is atomic.
	Load(ctx context.Context, items []Item, entries []Entry) error
}
