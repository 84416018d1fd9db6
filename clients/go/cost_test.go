package holdfast

import (
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

const (
	// dearest is how many look-ups a cached call may cost.
	dearest = 5
	// rounds of both, in turns and short, so that whatever else the machine does meets both
	// or spoils a few rounds only.
	rounds, callsARound = 1001, 1000
)

// lookUp is what a program would write that keeps its tokens itself: a map and its lock.
type lookUp struct {
	mu     sync.Mutex
	tokens map[string]*oauth2.Token
}

func (l *lookUp) token(grant string) *oauth2.Token {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tokens[grant]
}

// BenchmarkCachedCallInLookUps reports what a call that is answered from the cache costs,
// in look-ups of a map of 100 grants under its lock: the median of the rounds' ratios, and
// their fifth and ninety-fifth percentiles. It fails if the median is above 5.
func BenchmarkCachedCallInLookUps(b *testing.B) {
	client, stop := connect(b, newFakeBroker())
	defer stop()
	source := client.TokenSource(b.Context(), grant)
	own := &lookUp{tokens: map[string]*oauth2.Token{}}
	for i := range 99 {
		own.tokens["acme/service-"+string(rune('a'+i))+"/jira"] = nil
	}
	token, err := source.Token()
	if err != nil {
		b.Fatal(err)
	}
	own.tokens[grant] = token
	ctx := b.Context()
	timed := func(call func() *oauth2.Token) time.Duration {
		start := time.Now()
		for range callsARound {
			if call() != token {
				b.Fatal("another token came")
			}
		}
		return time.Since(start)
	}
	for b.Loop() {
		var ratios, costs []float64
		for range rounds {
			plain := timed(func() *oauth2.Token { return own.token(grant) })
			cached := timed(func() *oauth2.Token { t, _ := source.TokenContext(ctx); return t })
			ratios = append(ratios, float64(cached)/float64(plain))
			costs = append(costs, float64(cached.Nanoseconds())/callsARound)
		}
		slices.Sort(ratios)
		slices.Sort(costs)
		median := ratios[rounds/2]
		b.ReportMetric(median, "look-ups/call")
		b.ReportMetric(ratios[rounds/20], "p5-look-ups/call")
		b.ReportMetric(ratios[rounds*19/20], "p95-look-ups/call")
		b.ReportMetric(costs[rounds/2], "ns/call")
		if median > dearest {
			b.Errorf("a cached call costs %.1f look-ups, want at most %d", median, dearest)
		}
	}
	b.ReportMetric(0, "ns/op") // a whole run of rounds: of no interest
}
