package atlassiansim

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAWaveOverAShareOfTheFamilies: spurious refusals for ten minutes, then
// everybody is fine.
func TestAWaveOverAShareOfTheFamilies(t *testing.T) {
	b := newBench(t)
	const n = 100
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = b.consent().Refresh
	}
	b.arm(Fault{Kind: FaultRefuse, FamilyPercent: 30, AfterSeconds: 60, ForSeconds: 600})
	round := func() (refused [n]bool, count int) {
		for i, token := range tokens {
			switch r := b.refresh(token); r.status {
			case 200:
				tokens[i] = r.pair(t).Refresh
			default:
				wantRefused(t, r)
				refused[i], count = true, count+1
			}
		}
		return refused, count
	}
	if _, k := round(); k != 0 {
		t.Errorf("%d refused before the wave", k)
	}
	b.advance(time.Minute)
	first, k := round()
	if k < 18 || k > 42 {
		t.Errorf("30%% of %d families are %d", n, k)
	}
	b.advance(599 * time.Second)
	if second, _ := round(); second != first {
		t.Error("the wave moved to other families")
	}
	if r := b.post(map[string]string{}); r.status != 401 {
		t.Errorf("a request of no family answers %d", r.status)
	}
	b.advance(time.Second)
	if left := b.sim.Faults(); len(left) != 0 {
		t.Errorf("still armed after its time: %+v", left)
	}
	if _, k := round(); k != 0 {
		t.Errorf("%d refused after the wave", k)
	}
	if l := b.sim.Ledger(); len(l.LateReuses()) != 0 || len(l.LostFamilies()) != 0 {
		t.Error("the wave harmed a family")
	}
	other := b.arm(Fault{Kind: FaultRefuse, FamilyPercent: 30})
	if again, _ := round(); again == first {
		t.Errorf("%s hits the same families as the first", other)
	}
}

func TestEachFamilyIsRefusedKTimesThenFine(t *testing.T) {
	b := newBench(t)
	one, two := b.consent().Refresh, b.consent().Refresh
	b.arm(Fault{Kind: FaultRefuse, PerFamily: 2})
	var got []int
	for _, token := range []string{one, one, two, one, two, two} {
		got = append(got, b.refresh(token).status)
	}
	if d := cmp.Diff([]int{403, 403, 403, 200, 403, 200}, got); d != "" {
		t.Fatalf("statuses (-want +got):\n%s", d)
	}
}

// TestBrownOut sends so many requests per second of virtual time and counts
// the errors of the tenth to fifteenth second.
func TestBrownOut(t *testing.T) {
	for _, keep := range []bool{true, false} {
		b := newBench(t)
		token := b.consent().Refresh
		b.arm(Fault{Kind: FaultStatus, KeepToken: keep, RateOver: 10, RateSlope: 2, Percent: 60})
		errorsAt := func(rate int) (percent float64) {
			b.advance(time.Minute)
			hit, sent := 0, 0
			for i := range 6 * rate {
				b.advance(time.Second / time.Duration(rate))
				r := b.refresh(token)
				if i < rate {
					continue // the rate is not reached yet
				}
				if sent++; r.status == 503 {
					hit++
				}
			}
			return 100 * float64(hit) / float64(sent)
		}
		for _, c := range []struct {
			rate      int
			low, high float64
		}{{5, 0, 0}, {10, 0, 2}, {25, 15, 45}, {35, 35, 65}, {60, 48, 72}} {
			if got := errorsAt(c.rate); got < c.low || got > c.high {
				t.Errorf("keep_token %v: %d requests a second meet %.0f%% errors, want %.0f to %.0f", keep, c.rate, got, c.low, c.high)
			}
		}
		counts := b.onlyFamily().Counts
		if rotated := counts.Rotated == counts.Exchanges; rotated == keep || counts.Untouched > 0 != keep {
			t.Errorf("keep_token %v: %+v", keep, counts)
		}
	}
}

func TestTheRateIsThatOfTheLastSecond(t *testing.T) {
	var m meter
	at := func(ms int) int { return m.note(time.UnixMilli(int64(ms))) }
	got := []int{at(0), at(50), at(950), at(1000), at(1950), at(5000), at(5000), at(1000), at(-50), at(-50)}
	if d := cmp.Diff([]int{1, 2, 3, 2, 2, 1, 2, 1, 1, 2}, got); d != "" {
		t.Fatalf("rates (-want +got):\n%s", d)
	}
}

func TestNewTokensThatAreUnknownAtFirst(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	b.arm(Fault{Kind: FaultUnknownAtFirst, UnknownMillis: 1500, Count: 1})
	next := b.refresh(p.Refresh).pair(t)
	b.advance(1499 * time.Millisecond)
	wantRefused(t, b.refresh(next.Refresh))
	got := []int{b.get("/me", next.Access).status, b.get(resourcesPath, next.Access).status, b.get("/me", p.Access).status}
	if d := cmp.Diff([]int{401, 401, 200}, got); d != "" {
		t.Errorf("new token at /me and resources, old one at /me (-want +got):\n%s", d)
	}
	b.advance(time.Millisecond)
	if r := b.get("/me", next.Access); r.status != 200 {
		t.Errorf("known, the access token answers %d", r.status)
	}
	b.refresh(next.Refresh).pair(t)
	if f := b.onlyFamily(); f.EndedWhy != "" || f.Counts.Refused != 1 || f.Counts.ReusesInside != 0 {
		t.Errorf("got %+v", f)
	}
}

func TestValidationOfWhatAFaultHits(t *testing.T) {
	b := newBench(t)
	for _, f := range []Fault{
		{Kind: FaultRefuse, FamilyPercent: 101},
		{Kind: FaultRefuse, PerFamily: -1},
		{Kind: FaultRefuse, ForSeconds: -1},
		{Kind: FaultRefuse, AfterSeconds: -1},
		{Kind: FaultRefuse, RateOver: 10},
		{Kind: FaultRefuse, RateSlope: -1},
		{Kind: FaultUnknownAtFirst},
		{Kind: FaultUnknownAtFirst, UnknownMillis: 1, Endpoint: EndpointMe},
	} {
		if _, err := b.sim.AddFault(f); err == nil {
			t.Errorf("accepted: %+v", f)
		}
	}
}
