package atlassiansim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// Sim is the simulated provider: an http.Handler for all of its hosts' paths
// on one origin. It is safe for concurrent use.
type Sim struct {
	cfg  Config // apps (their secrets) change under mu
	apps map[string]*App
	// accounts and sites do not change.
	accounts map[string]*Account
	sites    map[string]place
	mux      http.Handler
	closed   chan struct{}
	once     sync.Once

	mu        sync.Mutex // guards all below, and cfg.Apps
	st        *state
	behaviour Behaviour
	faults    []*armedFault
	faultsNum int
	rng       *rand.Rand
}

// New makes a simulator. The error lists all problems of cfg, or says what is
// wrong with the state file.
func New(cfg Config) (*Sim, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("simulator configuration: %w", err)
	}
	st, err := load(cfg.StateFile)
	if err != nil {
		return nil, err
	}
	s := &Sim{
		cfg: cfg, st: st, behaviour: *cfg.Behaviour, closed: make(chan struct{}),
		rng: rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)), //nolint:gosec // reproducible chance is wanted; tokens come from crypto/rand
	}
	s.apps, s.accounts, s.sites = map[string]*App{}, map[string]*Account{}, map[string]place{}
	for i := range cfg.Apps {
		s.apps[cfg.Apps[i].ClientID] = &cfg.Apps[i]
	}
	for i := range cfg.Accounts {
		s.accounts[cfg.Accounts[i].ID] = &cfg.Accounts[i]
	}
	for i := range cfg.Sites {
		s.sites[cfg.Sites[i].CloudID] = place{&cfg.Sites[i], i}
	}
	for _, f := range cfg.Faults {
		s.arm(f)
	}
	s.mux = s.routes()
	return s, nil
}

// ServeHTTP implements http.Handler. Some faults break the connection by
// panicking with http.ErrAbortHandler, which net/http's server expects;
// httptest.ResponseRecorder does not.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// net/http would put the machine's time there, and not the simulated one.
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	s.mux.ServeHTTP(w, r)
}

// Close releases every request that a fault holds back: each is then handled
// without further delay, or dropped if it hangs. Call it before the server's shutdown.
func (s *Sim) Close() { s.once.Do(func() { close(s.closed) }) }

func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.handleIndex)
	mux.HandleFunc("GET /authorize", s.handleAuthorize)
	mux.HandleFunc("POST /authorize", s.handleDecision)
	mux.HandleFunc("GET /error", s.handleError)
	mux.HandleFunc("POST /oauth/token", s.handleToken)
	mux.HandleFunc("POST /oauth/revoke", s.handleRevoke)
	mux.HandleFunc("GET /oauth/token/accessible-resources", s.api(EndpointResources, s.resources))
	mux.HandleFunc("GET /me", s.api(EndpointMe, s.me))
	s.jiraRoutes(mux)
	s.confluenceRoutes(mux)
	s.controlRoutes(mux)
	// A page of another origin, opened in the developer's browser, may neither
	// consent nor turn the clock.
	return http.NewCrossOriginProtection().Handler(mux)
}

// Now returns the simulator's time.
func (s *Sim) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// now is Now for those who hold the mutex.
func (s *Sim) now() time.Time { return s.cfg.Now().Add(s.st.Offset).UTC() }

// Advance moves the simulator's clock by d, which may be negative.
func (s *Sim) Advance(d time.Duration) error {
	return s.change(func() error {
		s.st.Offset += d
		return nil
	})
}

// SetNow sets the simulator's clock; it runs on from there.
func (s *Sim) SetNow(t time.Time) error {
	return s.change(func() error {
		s.st.Offset = t.Sub(s.cfg.Now())
		return nil
	})
}

// Behaviour returns the switches as they stand.
func (s *Sim) Behaviour() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// SetBehaviour lets set change the switches. Nothing changes if what it leaves
// is invalid; the error lists all problems. set must not call the Sim.
func (s *Sim) SetBehaviour(set func(*Behaviour)) error {
	return s.setBehaviour(func(b *Behaviour) error {
		set(b)
		return nil
	})
}

func (s *Sim) setBehaviour(set func(*Behaviour) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.behaviour
	if err := set(&b); err != nil {
		return err
	}
	if err := b.validate(); err != nil {
		return err
	}
	s.behaviour = b
	return nil
}

// SetSecrets replaces the secrets that the app's client may use.
func (s *Sim) SetSecrets(clientID string, secrets ...secret.String) error {
	if err := checkSecrets(secrets); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.app(clientID)
	if a == nil {
		return fmt.Errorf("app %q: %w", clientID, errNotFound)
	}
	a.Secrets = slices.Clone(secrets)
	return nil
}

var errNotFound = errors.New("not found")

// change runs do under the mutex and saves the state if it succeeds.
func (s *Sim) change(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	return s.save()
}

// endFamilies ends the living families that match and counts them.
func (s *Sim) endFamilies(now time.Time, why string, match func(*family) bool) (n int) {
	for _, f := range s.st.Families {
		f.lapse(now, &s.behaviour)
		if f.EndedAt.IsZero() && match(f) {
			f.end(now, why)
			n++
		}
	}
	return n
}

// place is a site and its position in the configuration.
type place struct {
	*Site
	at int
}

// app, account and site find configured data; nil if there is none.
func (s *Sim) app(clientID string) *App { return s.apps[clientID] }

func (s *Sim) account(id string) *Account { return s.accounts[id] }

func (s *Sim) site(cloudID string) *Site { return s.sites[cloudID].Site }
