package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func second(n float64) time.Time { return epoch.Add(time.Duration(n * float64(time.Second))) }

var (
	doubtful   = family.Outcome{Class: family.InDoubt, Code: "timeout"}
	unsent     = family.Outcome{Class: family.NotSpent, Code: "refused"}
	settled200 = family.Outcome{Class: family.Settled}
)

// fail lets attempts of the grants fail one after the other, a second apart.
func (k *breaker) fail(o family.Outcome, grants ...string) {
	for i, g := range grants {
		k.learn(second(float64(i)), g, o, time.Time{}, 0)
	}
}

func TestTheCircuitOpensByWhatSaysThatTheProviderFails(t *testing.T) {
	many := func(n int, o func(i int) family.Outcome) func(*breaker) {
		return func(k *breaker) {
			for i := range n {
				k.learn(second(float64(i)), fmt.Sprint("g", i), o(i), time.Time{}, 0)
			}
		}
	}
	for _, row := range []struct {
		name string
		do   func(*breaker)
		want bool
	}{
		{"two grants", func(k *breaker) { k.fail(doubtful, "a", "b") }, false},
		{"three grants in a row", func(k *breaker) { k.fail(doubtful, "a", "b", "c") }, true},
		{"three that could not connect", func(k *breaker) { k.fail(unsent, "a", "b", "c") }, true},
		{"one grant again and again", func(k *breaker) { k.fail(doubtful, "a", "a", "a", "b", "a", "b", "a") }, false},
		{"with a success between them", func(k *breaker) {
			k.fail(doubtful, "a", "b")
			k.learn(second(3), "c", settled200, time.Time{}, 0)
			k.learn(second(4), "d", doubtful, time.Time{}, 0)
		}, false},
		{"far apart", func(k *breaker) {
			k.fail(doubtful, "a", "b")
			k.learn(second(700), "c", doubtful, time.Time{}, 0)
		}, false},
		{"refusals", many(30, func(int) family.Outcome { return family.Outcome{Class: family.Refused} }), false},
		{"a misconfigured app", many(30, func(int) family.Outcome { return family.Outcome{Class: family.Misconfigured} }), false},
		{"429", many(30, func(int) family.Outcome { return family.Outcome{Class: family.Transient} }), false},
		{"held back by the guard", many(30, func(int) family.Outcome { return family.Outcome{Class: family.NotSpent, Code: "guard"} }), false},
		{"held back since another family came alive", many(30, func(int) family.Outcome { return family.Outcome{Class: family.NotSpent, Code: notAlone} }), false},
		{"every other one", many(10, func(i int) family.Outcome { return []family.Outcome{settled200, doubtful}[i%2] }), true},
		{"every other one of too few", many(8, func(i int) family.Outcome { return []family.Outcome{settled200, doubtful}[i%2] }), false},
		{"every third one", many(50, func(i int) family.Outcome { return []family.Outcome{settled200, doubtful, settled200}[i%3] }), false},
	} {
		var k breaker
		row.do(&k)
		if k.open() != row.want {
			t.Errorf("%s: open %v, want %v", row.name, k.open(), row.want)
		}
	}
}

// canMay reports whether a grant that is in no doubt may be tried, and tries it.
func (k *breaker) canMay(now time.Time, grant string) bool {
	if k.opensAt(now, grant, false).After(now) {
		return false
	}
	k.enter(now, grant, time.Time{}, 0)
	return true
}

func TestWhileNobodyIsInDoubtOneGrantIsTheCanary(t *testing.T) {
	var k breaker
	k.fail(unsent, "a", "b", "c") // opened at second 2
	if k.canMay(second(6), "d") {
		t.Fatal("a canary goes before the first interval is over")
	}
	for _, row := range []struct {
		at    float64
		grant string
		want  bool
	}{
		{7, "d", true}, {7, "e", false}, {16, "d", false}, {17, "d", true}, {17, "e", false},
		{36, "d", false}, {37, "d", true}, {77, "d", true}, {136, "d", false}, {137, "d", true}, // a minute at the most
		{198, "e", false}, {256, "e", false}, {257, "e", true}, {320, "d", false}, // d did not come for a minute
	} {
		if got := k.canMay(second(row.at), row.grant); got != row.want {
			t.Errorf("second %v: %s may %v, want %v", row.at, row.grant, got, row.want)
		}
		if row.want {
			k.learn(second(row.at), row.grant, unsent, time.Time{}, 0)
		}
	}
}

func TestGrantsInDoubtAreProbedInPlaceOfACanary(t *testing.T) {
	var k breaker
	k.fail(unsent, "a", "b")
	k.learn(second(2), "c", doubtful, second(600), 0)
	if !k.open() {
		t.Fatal("not open")
	}
	if at := k.opensAt(second(3), "c", true); at.After(second(3)) {
		t.Errorf("the grant in doubt waits until %v", at)
	}
	if k.canMay(second(100), "d") {
		t.Error("another one is put in doubt while one can be repeated")
	}
	// It may be the only one that the provider fails.
	if !k.canMay(second(122), "d") {
		t.Error("no canary after two minutes")
	}
	k.learn(second(123), "d", doubtful, second(700), 0)
	if k.canMay(second(500), "e") || k.canMay(second(699), "e") {
		t.Error("a second canary while the first one can be repeated")
	}
	if !k.canMay(second(701), "e") {
		t.Error("no other canary after the first one's leeway")
	}
}

func TestTheFirstSuccessClosesTheCircuit(t *testing.T) {
	var k breaker
	k.fail(doubtful, "a", "b", "c")
	if changed := k.learn(second(5), "a", settled200, time.Time{}, 0); !changed || k.open() {
		t.Fatalf("changed %v, open %v", changed, k.open())
	}
	k.learn(second(6), "b", doubtful, second(600), 0)
	k.learn(second(7), "c", doubtful, second(600), 0)
	if k.open() {
		t.Fatal("failures from before the success count on")
	}
	if changed := k.learn(second(8), "d", doubtful, second(600), 0); !changed {
		t.Fatal("it does not open again")
	}
}

func TestACanaryThatIsRefusedGivesItsPlaceAway(t *testing.T) {
	var k breaker
	k.fail(unsent, "a", "b", "c")
	if !k.canMay(second(10), "d") {
		t.Fatal("no canary")
	}
	k.learn(second(10), "d", family.Outcome{Class: family.Refused}, time.Time{}, 0)
	if !k.open() || !k.canMay(second(20), "e") {
		t.Fatal("the next one may not try")
	}
}
