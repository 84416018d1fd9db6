package broker_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// cluster is several brokers over one store in memory, in virtual time.
type cluster struct {
	t       *testing.T
	mem     *memstore.Store
	sim     *atlassiansim.Sim
	pipe    *atlassiansim.Pipe
	kek     seal.KEK
	dir     string
	cfg     broker.Config
	replica []*member
	// accessLife of the provider's tokens; 0: an hour.
	accessLife time.Duration

	mu      sync.Mutex
	dialing func() // guarded by mu
}

// member is one of the replicas.
type member struct {
	*broker.Broker
	c     *cluster
	store *storage.Store
	link  *link
	// skew of its machine's clock.
	skew  atomic.Int64
	close func()
}

// pass lets virtual time pass; no time needs no timer.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// inCluster plays a test with n replicas whose sweeps run, in virtual time.
func inCluster(t *testing.T, n int, test func(c *cluster), settings ...func(*cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, settings...)
		for range n {
			c.start(0)
		}
		pass(time.Second) // what each does at once
		test(c)
	})
}

func newCluster(t *testing.T, settings ...func(*cluster)) *cluster {
	c := &cluster{t: t, mem: memstore.New(), pipe: atlassiansim.NewPipe(), dir: t.TempDir()}
	path := filepath.Join(c.dir, "kek")
	if _, err := seal.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.kek, err = seal.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	c.cfg = broker.Config{
		Version: "test", Environment: "test", PublicURL: public, Log: slog.New(slog.DiscardHandler), SweepEvery: 2 * time.Second,
		Apps: []broker.App{{ID: "jira", ClientID: "client-jira", Products: []string{"jira"}, Scopes: map[string][]string{"jira": {"read:jira-work", "write:jira-work"}},
			Secrets: func() ([]secret.String, error) { return []secret.String{secret.New("secret")}, nil }}},
		Timing: family.Timing{
			Leeway: 10 * time.Minute, AccessGrace: 10 * time.Minute, Lease: time.Minute, HTTPTimeout: 5 * time.Second, ClockMargin: 5 * time.Second,
			RefreshAhead: 5 * time.Minute, ConfirmDelay: 30 * time.Second, IdleLimit: 90 * 24 * time.Hour, AbsoluteLimit: 365 * 24 * time.Hour,
		},
	}
	for _, set := range settings {
		set(c)
	}
	behaviour := atlassiansim.DefaultBehaviour()
	if c.accessLife > 0 {
		behaviour.AccessTTLSeconds = int(c.accessLife / time.Second)
	}
	c.sim, err = atlassiansim.New(atlassiansim.Config{AutoConsent: true, Behaviour: &behaviour, Apps: []atlassiansim.App{{
		ClientID: "client-jira", Secrets: []secret.String{secret.New("secret")}, CallbackURL: public.JoinPath("oauth/callback").String(),
		Scopes: []string{"read:me", "read:jira-work", "write:jira-work"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- atlassiansim.Serve(ctx, c.pipe, c.sim, c.cfg.Log) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		c.sim.Close()
	})
	return c
}

// start adds a replica, whose machine's clock is off by skew.
func (c *cluster) start(skew time.Duration) *member {
	c.t.Helper()
	m := &member{c: c, link: &link{Store: c.mem}}
	m.setSkew(skew)
	must := func(err error) {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	now := func() time.Time { return time.Now().Add(time.Duration(m.skew.Load())) }
	var err error
	m.store, err = storage.Open(ctx, storage.Config{
		Dir: filepath.Join(c.dir, "store"), Environment: "test", Provider: "atlassian", KEK: c.kek, Now: now, Log: c.cfg.Log,
		Backend: func(string, []byte) (storage.Backend, error) { return m.link, nil }, Spill: memstore.NewSpill(),
	})
	must(err)
	profile, err := atlassian.LoadProfile("atlassian")
	must(err)
	profile.PlainHTTP = true
	const base = "http://provider.invalid"
	profile.AuthorizeURL, profile.TokenURL, profile.RevokeURL = base+"/authorize", base+"/oauth/token", base+"/oauth/revoke"
	profile.ResourcesURL, profile.AccountURL = base+"/oauth/token/accessible-resources", base+"/me"
	provider, err := atlassian.New(profile, atlassian.Options{HTTPTimeout: c.cfg.Timing.HTTPTimeout, Now: now, Dial: c.dial})
	must(err)
	records, err := audit.Open(audit.Config{File: os.DevNull})
	must(err)
	rules, err := policy.New([]policy.Rule{{Caller: "op", Admin: true}, {Caller: "svc", Grants: []string{"acme/*/*"}}})
	must(err)
	cfg := c.cfg
	cfg.Store, cfg.Provider, cfg.Policy, cfg.Audit, cfg.Now = m.store, provider, rules, records, now
	m.Broker, err = broker.New(cfg)
	must(err)
	m.close = sync.OnceFunc(func() {
		if err := m.Close(context.Background()); err != nil {
			c.t.Error(err)
		}
		provider.Close()
		_ = records.Close()
		_ = m.store.Close()
	})
	c.t.Cleanup(m.close)
	c.replica = append(c.replica, m)
	return m
}

// onDial calls f once, before a connection to the provider is made.
func (c *cluster) onDial(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = f
}

func (c *cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	dialing := c.dialing
	c.dialing = nil
	c.mu.Unlock()
	if dialing != nil {
		dialing()
	}
	return c.pipe.DialContext(ctx, network, address)
}

func (m *member) setSkew(d time.Duration) { m.skew.Store(int64(d)) }

// consent lets a person consent at this replica, with these scopes; none: the app's.
func (m *member) consent(a storage.Address, scopes ...string) {
	m.c.t.Helper()
	link, err := m.StartConsent(ctx, op, broker.ConsentRequest{Address: a, Scopes: scopes})
	if err != nil {
		m.c.t.Fatal(err)
	}
	begun, err := m.BeginConsent(ctx, link.URL[strings.LastIndex(link.URL, "/")+1:])
	if err != nil {
		m.c.t.Fatal(err)
	}
	page := httptest.NewRecorder()
	m.c.sim.ServeHTTP(page, httptest.NewRequest(http.MethodGet, begun.RedirectURL, nil))
	to, err := url.Parse(page.Header().Get("Location"))
	if err != nil {
		m.c.t.Fatal(err)
	}
	o, err := m.FinishConsent(ctx, broker.Callback{
		State: to.Query().Get("state"), Code: secret.New(to.Query().Get("code")), Cookie: func(string) secret.String { return begun.Cookie },
	})
	if err != nil || o.Status != storage.ConsentDone {
		m.c.t.Fatalf("consent: %+v, %v", o, err)
	}
}

// draw asks for a token, as a service that waits for ten seconds.
func (m *member) draw(a storage.Address) (*broker.TokenAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return m.AccessToken(ctx, svc, broker.TokenRequest{Address: a})
}

// drawsEvery draws at each step until end says so, for d at most, and returns when
// the last call began, from now on, that was still answered otherwise.
func (m *member) drawsEvery(step, d time.Duration, a storage.Address, end func(*broker.TokenAnswer, error) bool) (last time.Duration) {
	m.c.t.Helper()
	for began := time.Now(); time.Since(began) <= d; pass(step) {
		at := time.Since(began)
		if answer, err := m.draw(a); end(answer, err) {
			return last
		}
		last = at
	}
	m.c.t.Fatalf("after %v it still answers as before", d)
	return 0
}

// isReason is an end of draws.
func isReason(r broker.Reason) func(*broker.TokenAnswer, error) bool {
	return func(_ *broker.TokenAnswer, err error) bool { return err != nil && broker.ReasonOf(err) == r }
}

// posts counts the refresh requests that the provider saw.
func (c *cluster) posts() (n int) {
	for _, f := range c.sim.Ledger().Families {
		for _, e := range f.Exchanges {
			if e.GrantType == "refresh_token" {
				n++
			}
		}
	}
	return n
}

func (c *cluster) grant(a storage.Address) storage.Grant {
	c.t.Helper()
	return c.replica[0].grant(a)
}

// grant is the record as the replica reads it now.
func (m *member) grant(a storage.Address) storage.Grant {
	m.c.t.Helper()
	g, err := m.store.Grant(ctx, a.GrantID())
	if err != nil {
		m.c.t.Fatal(err)
	}
	return g
}

// noHints loses all notifications: what must work without them.
func noHints(c *cluster) { c.mem.DropHints(true) }
