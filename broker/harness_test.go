package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spillSlots is how many spends can be under way at once; some tests need eight.
const spillSlots = 8

// clock is a wall clock that the tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a broker over a real store on disk and the simulator over real
// HTTP, all on one clock.
type world struct {
	*broker.Broker
	t       testing.TB
	clock   *clock
	sim     *atlassiansim.Sim
	simURL  string
	store   *storage.Store
	dir     string
	witness string // its file; empty: none
	audit   string
	mu      sync.Mutex          // guards secrets
	secrets map[string][]string // by app
	backend *watched
	// mem, if set, keeps the records instead of Badger.
	mem *memstore.Store
	// scope, if set before the broker asks, replaces the scope of the provider's token answers.
	scope atomic.Pointer[string]
	cfg   broker.Config
	// kek, if set, stands before the KEK of the file.
	kek func(seal.KEK) seal.KEK
	// profile, if set, changes the provider's.
	profile func(*atlassian.Profile)
}

var (
	op     = broker.Caller{Name: "op", RequestID: "req-op"}
	svc    = broker.Caller{Name: "svc", RequestID: "req-svc"}
	jira   = mustAddress("acme/automation/jira")
	wiki   = mustAddress("acme/automation/confluence")
	public = &url.URL{Scheme: "http", Host: "holdfast.test:8080"}
)

func mustAddress(s string) storage.Address {
	a, err := storage.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

type setting func(*world)

// sharedApp puts both products under one app.
func sharedApp(w *world) {
	w.cfg.Apps = []broker.App{{ID: "both", ClientID: "client-both", Products: []string{"jira", "confluence"},
		Scopes: map[string][]string{"jira": {"read:jira-work"}, "confluence": {"read:confluence-content.all"}}, Secrets: w.secretsOf("both")}}
}

func (w *world) secretsOf(app string) func() ([]secret.String, error) {
	return func() ([]secret.String, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		var out []secret.String
		for _, s := range w.secrets[app] {
			out = append(out, secret.New(s))
		}
		if len(out) == 0 {
			return nil, errors.New("no secret file")
		}
		return out, nil
	}
}

func (w *world) setSecrets(app string, secrets ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[app] = secrets
}

func newWorld(t testing.TB, settings ...setting) *world {
	t.Helper()
	w := &world{
		t: t, clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, dir: t.TempDir(),
		secrets: map[string][]string{"jira": {"secret-jira"}, "confluence": {"secret-confluence"}, "both": {"secret-both"}},
	}
	w.audit = filepath.Join(w.dir, "audit.jsonl")
	w.cfg = broker.Config{
		Version: "test", Environment: "test", SweepEvery: -1, Now: w.clock.Now, PublicURL: public,
		Log: slog.New(slog.DiscardHandler),
		Apps: []broker.App{
			{ID: "jira", ClientID: "client-jira", Products: []string{"jira"}, Scopes: map[string][]string{"jira": {"read:jira-work", "write:jira-work"}}, Secrets: w.secretsOf("jira")},
			{ID: "confluence", ClientID: "client-confluence", Products: []string{"confluence"}, Scopes: map[string][]string{"confluence": {"read:confluence-content.all"}}, Secrets: w.secretsOf("confluence")},
		},
		Timing: family.Timing{
			Leeway: 10 * time.Minute, AccessGrace: 10 * time.Minute, Lease: time.Minute, HTTPTimeout: 5 * time.Second, ClockMargin: 5 * time.Second,
			RefreshAhead: 5 * time.Minute, ConfirmDelay: 30 * time.Second, IdleLimit: 90 * 24 * time.Hour, AbsoluteLimit: 365 * 24 * time.Hour,
		},
	}
	for _, set := range settings {
		set(w)
	}
	w.startSim()
	w.openStore()
	w.startBroker()
	return w
}

func (w *world) startSim() {
	w.t.Helper()
	cfg := atlassiansim.Config{Now: w.clock.Now, AutoConsent: true}
	for _, a := range w.cfg.Apps {
		var scopes []string
		for _, s := range a.Scopes {
			scopes = append(scopes, s...)
		}
		secrets, _ := a.Secrets()
		cfg.Apps = append(cfg.Apps, atlassiansim.App{ClientID: a.ClientID, Secrets: secrets, CallbackURL: public.JoinPath("oauth/callback").String(), Scopes: append(scopes, "read:me")})
	}
	var err error
	if w.sim, err = atlassiansim.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(w.provider))
	w.simURL = server.URL
	w.t.Cleanup(func() {
		w.sim.Close()
		server.Close()
	})
}

// provider is the simulator, but for the scope of its token answers.
func (w *world) provider(rw http.ResponseWriter, r *http.Request) {
	scope := w.scope.Load()
	if scope == nil || r.URL.Path != "/oauth/token" {
		w.sim.ServeHTTP(rw, r)
		return
	}
	rec := httptest.NewRecorder()
	w.sim.ServeHTTP(rec, r)
	var answer map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
		w.t.Errorf("token answer: %v", err)
	}
	answer["scope"] = *scope
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(rec.Code)
	_ = json.NewEncoder(rw).Encode(answer)
}

func (w *world) openStore() {
	w.t.Helper()
	kekPath := filepath.Join(w.dir, "kek")
	if _, err := os.Stat(kekPath); err != nil {
		if _, err := seal.CreateFile(kekPath); err != nil {
			w.t.Fatal(err)
		}
	}
	file, err := seal.ReadFile(kekPath)
	if err != nil {
		w.t.Fatal(err)
	}
	kek := seal.KEK(file)
	if w.kek != nil {
		kek = w.kek(kek)
	}
	w.store, err = storage.Open(context.Background(), storage.Config{
		Dir: filepath.Join(w.dir, "store"), Environment: "test", Provider: "atlassian", KEK: kek, Now: w.clock.Now, Log: w.cfg.Log,
		SpillSlots: spillSlots, WitnessFile: w.witness,
		Backend: func(dir string, key []byte) (storage.Backend, error) {
			open := badgerstore.Opener(badgerstore.Options{Log: w.cfg.Log})
			if w.mem != nil {
				open = w.mem.Opener()
			}
			inner, err := open(dir, key)
			w.backend = &watched{Backend: inner}
			return w.backend, err
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	store := w.store
	w.t.Cleanup(func() { _ = store.Close() })
}

func (w *world) startBroker() {
	w.t.Helper()
	profile, err := atlassian.LoadProfile("atlassian")
	if err != nil {
		w.t.Fatal(err)
	}
	profile.AuthorizeURL, profile.TokenURL = w.simURL+"/authorize", w.simURL+"/oauth/token"
	profile.ResourcesURL, profile.AccountURL, profile.RevokeURL = w.simURL+"/oauth/token/accessible-resources", w.simURL+"/me", w.simURL+"/oauth/revoke"
	if w.profile != nil {
		w.profile(&profile)
	}
	provider, err := atlassian.New(profile, atlassian.Options{HTTPTimeout: w.cfg.Timing.HTTPTimeout, Now: w.cfg.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	log := w.cfg.Audit
	if log == nil { // one of a world: nobody else may write its file
		if log, err = audit.Open(audit.Config{File: w.audit, Log: w.cfg.Log}); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = log.Close() })
	}
	rules, err := policy.New([]policy.Rule{
		{Caller: "op", Admin: true},
		{Caller: "svc", Grants: []string{"acme/*/*"}},
		{Caller: "front", Consents: []string{"acme/*/*"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Store, w.cfg.Provider, w.cfg.Policy, w.cfg.Audit = w.store, provider, rules, log
	if w.Broker, err = broker.New(w.cfg); err != nil {
		w.t.Fatal(err)
	}
	b := w.Broker
	w.t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
		provider.Close()
		_ = log.Close()
	})
}

func (w *world) token(a storage.Address) *broker.TokenAnswer {
	w.t.Helper()
	answer, err := w.AccessToken(context.Background(), svc, broker.TokenRequest{Address: a})
	if err != nil {
		w.t.Fatalf("token of %s: %v", a, err)
	}
	return answer
}

// refused asks for a token and wants it refused with a reason.
func (w *world) refused(a storage.Address, want broker.Reason) *broker.Error {
	w.t.Helper()
	_, err := w.AccessToken(context.Background(), svc, broker.TokenRequest{Address: a})
	var e *broker.Error
	if !errors.As(err, &e) || e.Reason != want {
		w.t.Fatalf("token of %s: got %v, want %s", a, err, want)
	}
	return e
}

// works asks the simulated Jira or Confluence with a token.
func (w *world) works(answer *broker.TokenAnswer) bool {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.simURL+"/me", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+answer.Token.Reveal())
	client := &http.Client{}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// refreshes counts the refresh requests that the provider saw.
func (w *world) refreshes() int {
	n := 0
	for _, f := range w.sim.Ledger().Families {
		for _, e := range f.Exchanges {
			if e.GrantType == "refresh_token" {
				n++
			}
		}
	}
	return n
}

// fault arms a fault at the simulator.
func (w *world) fault(f atlassiansim.Fault) {
	w.t.Helper()
	f.GrantType = "refresh_token"
	if _, err := w.sim.AddFault(f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) auditLines() []map[string]any {
	w.t.Helper()
	raw, err := os.ReadFile(w.audit)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []map[string]any
	for line := range strings.Lines(string(raw)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			w.t.Fatalf("audit line %q: %v", line, err)
		}
		if m["audit"] == nil { // not one of the log's own
			out = append(out, m)
		}
	}
	return out
}
