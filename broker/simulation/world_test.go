package simulation

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// world is everything that one seed is played with.
type world struct {
	t       *testing.T
	seed    uint64
	weather weather
	began   time.Time

	dir     string
	kek     *seal.File
	mem     *memstore.Store
	lens    *lens
	auditor *storage.Store
	sim     *atlassiansim.Sim
	pipe    *atlassiansim.Pipe
	profile atlassian.Profile
	rules   *policy.Engine
	// providerDownUntil and storeDownUntil are outages for everybody; until
	// brokenUntil the store is without a process after a failed sync. Unix nanoseconds.
	providerDownUntil, storeDownUntil, brokenUntil atomic.Int64
	replicas                                       []*replica

	// work are the goroutines of the world itself; done tells them to end, over
	// that an invariant was broken.
	work       sync.WaitGroup
	done, over chan struct{}
	// settled is closed when the faults end: what is down is started at once.
	settled     chan struct{}
	settledOnce sync.Once
	served      chan error
	stopSim     context.CancelFunc

	mu     sync.Mutex // guards all below, and the grants; not held while time passes
	grants []*grant
	byID   map[string]*grant
	rough  bool
	steps  map[string]int
	// refreshTokens (by id) and accessTokens that were ever durable.
	refreshTokens map[string]known
	accessTokens  map[string]known
	// exchanged is when a code's answer last came, by client; held when verdicts
	// were last held, by app.
	exchanged, held map[string]time.Time
	// alternates are the ids of refresh tokens that came late.
	alternates map[string]bool
	sends      map[string][]*sending
	returned   []returned
	// risked are the accounts (by app) with which an operator risked a last try.
	risked   map[string]bool
	schedule []entry
	failures []failure
	stats    stats
}

// failure is a broken invariant (0: of the simulation as a whole).
type failure struct {
	invariant int
	grant     *grant
	text      string
}

// fail records that an invariant is broken and ends the run. Called with mu held.
func (w *world) fail(invariant int, g *grant, format string, args ...any) {
	text := fmt.Sprintf("at %s: ", time.Since(w.began).Round(time.Millisecond))
	if g != nil {
		text += g.address.String() + ": "
	}
	if len(w.failures) == 5 {
		return
	}
	w.failures = append(w.failures, failure{invariant, g, text + fmt.Sprintf(format, args...)})
	if len(w.failures) == 1 {
		close(w.over)
	}
}

// broken ends the run because the simulation itself does not work.
func (w *world) broken(doing string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(0, nil, "%s: %v", doing, err)
}

// pause lets d pass, or less if the run ends; false then.
func (w *world) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-w.done:
		return false
	}
}

func newWorld(t *testing.T, seed uint64, x weather) *world {
	w := &world{
		t: t, seed: seed, weather: x, began: time.Now(), dir: filepath.Join(t.TempDir(), "store"),
		mem: memstore.New(), pipe: atlassiansim.NewPipe(), done: make(chan struct{}), over: make(chan struct{}), settled: make(chan struct{}), served: make(chan error, 1),
		byID: map[string]*grant{}, steps: map[string]int{}, refreshTokens: map[string]known{}, accessTokens: map[string]known{},
		sends: map[string][]*sending{}, risked: map[string]bool{}, alternates: map[string]bool{}, exchanged: map[string]time.Time{}, held: map[string]time.Time{},
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	kek := filepath.Join(t.TempDir(), "kek")
	_, err = seal.CreateFile(kek)
	must(err)
	w.kek, err = seal.ReadFile(kek)
	must(err)
	w.rules, err = policy.New([]policy.Rule{{Caller: op.Name, Admin: true}, {Caller: svc.Name, Grants: []string{"acme/*/*"}}})
	must(err)
	w.profile, err = atlassian.LoadProfile("atlassian")
	must(err)
	w.profile.PlainHTTP = true
	const base = "http://provider.invalid"
	w.profile.AuthorizeURL, w.profile.TokenURL, w.profile.RevokeURL = base+"/authorize", base+"/oauth/token", base+"/oauth/revoke"
	w.profile.ResourcesURL, w.profile.AccountURL = base+"/oauth/token/accessible-resources", base+"/me"
	w.profile.Leeway, w.profile.AccessGrace, w.profile.IdleLimit = timing.Leeway, timing.AccessGrace, timing.IdleLimit
	w.profile.AssumedLife = accessLife - time.Minute
	w.makeGrants()
	w.startSim(must)
	w.lens = &lens{Store: w.mem}
	w.auditor, err = storage.Open(context.Background(), storage.Config{
		Dir: w.dir, Environment: "simulation", Provider: "atlassian", KEK: w.kek, Log: quiet,
		Backend: func(string, []byte) (storage.Backend, error) { return w.lens, nil },
		Spill:   (&disk{}).mount(nil), SpillSlots: 1,
	})
	must(err)
	for i := range x.replicas {
		most := 5 * time.Minute
		if x.embedded { // there is no other clock than its own
			most = timing.ClockMargin / 2
		}
		r := &replica{index: i, skew: between(dice(seed, "skew", i), -most, most)}
		w.replicas = append(w.replicas, r)
		w.start(r)
	}
	return w
}

var (
	op  = broker.Caller{Name: "op", RequestID: "op"}
	svc = broker.Caller{Name: "svc", RequestID: "svc"}
)

// products of the apps; each has an app of its own.
var products = []string{"jira", "confluence"}

var scopes = map[string][]string{"jira": {"read:jira-work"}, "confluence": {"read:confluence-content.all"}}

func apps() (list []broker.App) {
	for _, p := range products {
		list = append(list, broker.App{
			ID: p, ClientID: "client-" + p, Products: []string{p}, Scopes: map[string][]string{p: scopes[p]},
			Secrets: func() ([]secret.String, error) { return []secret.String{secret.New("secret-" + p)}, nil },
		})
	}
	return list
}

// makeGrants gives each grant an account, but every sixth that of another
// grant of the same app.
func (w *world) makeGrants() {
	for i := range w.weather.grants {
		account := i
		if i%6 == 5 {
			account = i - 2
		}
		p := products[i%len(products)]
		a := storage.Address{Tenant: "acme", Subject: fmt.Sprintf("s%02d", i), Product: p, Name: storage.DefaultName}
		g := &grant{
			index: i, address: a, id: a.GrantID(), account: fmt.Sprintf("account-%02d", account), app: p,
			families: map[uint64]string{}, onWire: map[*wire]*sending{}, forcing: map[*life]int{},
		}
		w.grants = append(w.grants, g)
		w.byID[g.id] = g
	}
}

func (w *world) startSim(must func(error)) {
	cfg := atlassiansim.Config{AutoConsent: true, Behaviour: w.weather.behaviour(), Seed: w.seed, KeepExchanges: 4}
	for _, p := range products {
		cfg.Apps = append(cfg.Apps, atlassiansim.App{
			ClientID: "client-" + p, Secrets: []secret.String{secret.New("secret-" + p)},
			CallbackURL: public.JoinPath("oauth/callback").String(), Scopes: append([]string{"read:me"}, scopes[p]...),
		})
	}
	for i := range w.weather.grants {
		cfg.Accounts = append(cfg.Accounts, atlassiansim.Account{ID: fmt.Sprintf("account-%02d", i), Name: "somebody"})
	}
	var err error
	w.sim, err = atlassiansim.New(cfg)
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	w.stopSim = stop
	go func() { w.served <- atlassiansim.Serve(ctx, w.pipe, w.sim, quiet) }() // ends with stopSim
}
