package atlassiansim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// BenchmarkMillionExchanges plays 1,000,000 exchanges of 10,000 families, each
// of an account of its own that refreshes every 55 minutes of the simulator's
// clock, in one process. Run it with -benchtime=1x; what it reports is per
// exchange, the client's part included, and the memory held after half of it and at the end.
func BenchmarkMillionExchanges(b *testing.B) {
	const families, exchanges = 10_000, 1_000_000
	for _, keep := range []int{8, 0} {
		b.Run(fmt.Sprintf("keep=%d", keep), func(b *testing.B) {
			for b.Loop() {
				p := newPlant(b, families, keep)
				began := time.Now()
				half := 0.0
				for n := range exchanges {
					if n == exchanges/2 {
						half = p.heapMiB()
					}
					p.refresh(n % families)
				}
				took := time.Since(began)
				b.ReportMetric(half, "MiB-at-half")
				b.ReportMetric(float64(took.Nanoseconds())/exchanges, "ns/exchange")
				b.ReportMetric(p.heapMiB(), "MiB-held")
				began = time.Now()
				l := p.sim.Ledger()
				if len(l.LateReuses()) != 0 || len(l.LostFamilies()) != 0 || l.Posts() != families+exchanges {
					b.Fatalf("%d late reuses, %d lost, %d posts", len(l.LateReuses()), len(l.LostFamilies()), l.Posts())
				}
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/ledger")
			}
		})
	}
}

// BenchmarkExchange shows that an exchange costs the same among few families
// and many.
func BenchmarkExchange(b *testing.B) {
	for _, families := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("families=%d", families), func(b *testing.B) {
			p, n := newPlant(b, families, 8), 0
			for b.Loop() {
				p.refresh(n % families)
				n++
			}
		})
	}
}

// plant is a simulator with many families, called without a network.
type plant struct {
	b      *testing.B
	sim    *Sim
	now    time.Time
	step   time.Duration
	tokens []string
}

func newPlant(b *testing.B, families, keep int) *plant {
	b.Helper()
	p := &plant{b: b, now: start, step: 55 * time.Minute / time.Duration(families), tokens: make([]string, families)}
	cfg := testConfig()
	cfg.KeepExchanges, cfg.Now = keep, func() time.Time { return p.now }
	cfg.Apps[0].Secrets = []secret.String{secret.New(jiraSecret)}
	cfg.Apps[0].ServiceAccount, cfg.Accounts = "", nil
	for n := range families {
		cfg.Accounts = append(cfg.Accounts, Account{ID: fmt.Sprintf("account-%d", n), Sites: []string{DefaultSites()[0].CloudID}})
	}
	var err error
	if p.sim, err = New(cfg); err != nil {
		b.Fatal(err)
	}
	for n := range families {
		q := authorizeQuery(jiraID, jiraScopes)
		q.Set("sim_account", cfg.Accounts[n].ID)
		w := httptest.NewRecorder()
		p.sim.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/authorize?"+q.Encode(), nil))
		u, err := w.Result().Location()
		if err != nil {
			b.Fatal(err)
		}
		p.tokens[n] = p.post(codeRequest(jiraID, u.Query().Get("code")))
	}
	return p
}

func (p *plant) refresh(n int) {
	p.now = p.now.Add(p.step)
	p.tokens[n] = p.post(refreshRequest(jiraID, p.tokens[n]))
}

func (p *plant) post(values map[string]string) (refreshToken string) {
	raw, err := json.Marshal(values)
	if err != nil {
		p.b.Fatal(err)
	}
	r := httptest.NewRequestWithContext(p.b.Context(), http.MethodPost, "/oauth/token", strings.NewReader(string(raw)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	p.sim.ServeHTTP(w, r)
	var answered pair
	if err := json.Unmarshal(w.Body.Bytes(), &answered); err != nil || w.Code != http.StatusOK {
		p.b.Fatalf("got %d %s", w.Code, w.Body)
	}
	return answered.Refresh
}

// heapMiB after a collection.
func (p *plant) heapMiB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
