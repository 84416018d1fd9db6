package chaos

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// at is a number of milliseconds.
func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// never is a call whose outcome nobody knows.
const never = -1

// token, denied, revoke and consent are calls from and to so many milliseconds.
func token(replica int, generation uint64, from, to int) Op {
	return Op{Verb: Draw, Replica: replica, Generation: generation, Call: at(from), Return: at(to)}
}

func denied(replica, round int, from, to int) Op {
	return Op{Verb: Draw, Replica: replica, Round: round, Call: at(from), Return: at(to), Reason: "GRANT_REVOKED", Code: "FailedPrecondition"}
}

func act(verb Verb, from, to int) Op {
	if to == never {
		return Op{Verb: verb, Call: at(from), Return: forever}
	}
	return Op{Verb: verb, Call: at(from), Return: at(to)}
}

func TestTheModelTellsGoodHistoriesFromBadOnes(t *testing.T) {
	for _, row := range []struct {
		name string
		want bool
		ops  []Op
	}{
		{"nothing", true, nil},
		{"one generation after the other", true, []Op{token(0, 1, 0, 10), token(1, 2, 20, 30), token(0, 2, 40, 50), token(2, 5, 60, 70)}},
		{"back within the bound", true, []Op{token(0, 2, 0, 10), token(1, 1, 900, 910)}},
		{"back beyond the bound", false, []Op{token(0, 2, 0, 10), token(1, 1, 1100, 1110)}},
		{"back beyond the bound, in a call that began before", true, []Op{token(0, 2, 0, 10), token(1, 1, 5, 5000)}},
		{"back and forth within the bound", true, []Op{token(0, 1, 0, 10), token(1, 2, 20, 30), token(0, 1, 40, 50), token(1, 2, 60, 70), token(0, 2, 1200, 1210)}},
		{"back through a third replica", false, []Op{token(0, 2, 0, 10), token(1, 2, 500, 510), token(2, 1, 1011, 1020)}},
		{"a token within the bound of a revocation", true, []Op{token(0, 1, 0, 10), act(Revoke, 20, 30), token(1, 1, 1000, 1010)}},
		{"a token beyond the bound of a revocation", false, []Op{token(0, 1, 0, 10), act(Revoke, 20, 30), token(1, 1, 1031, 1040)}},
		{"a token after a revocation of which nobody knows", true, []Op{act(Revoke, 20, never), token(1, 1, 5031, 5040)}},
		{"a token after the answer that it was revoked", false, []Op{act(Revoke, 20, never), denied(0, 1, 100, 110), token(1, 1, 1111, 1120)}},
		{"a consent after a revocation", true, []Op{token(0, 1, 0, 10), act(Revoke, 20, 30), denied(1, 1, 2000, 2010), act(Consent, 3000, 3100), token(1, 2, 3200, 3210)}},
		{"no consent, and nobody revoked", false, []Op{token(0, 1, 0, 10), denied(1, 0, 20, 30)}},
		{"a revocation that was tried again", true, []Op{act(Revoke, 20, never), token(0, 1, 5000, 5010), act(Revoke, 6000, 6100), denied(1, 1, 6200, 6210)}},
		{"a token after a revocation that was tried again", false, []Op{act(Revoke, 20, never), act(Revoke, 6000, 6100), token(0, 1, 7101, 7200)}},
		{"still revoked long after a consent", false, []Op{act(Revoke, 20, 30), act(Consent, 100, 200), denied(1, 1, 1300, 1310)}},
	} {
		bound := func(*Op) time.Duration { return time.Second }
		if got, _ := linearize(row.ops, bound); (got == porcupine.Ok) != row.want {
			t.Errorf("%s: %v, want good: %t", row.name, got, row.want)
		}
	}
}

// TestTheModelIsFastEnough for what a soak yields: replicas that are a bound apart
// all the time.
func TestTheModelIsFastEnough(t *testing.T) {
	var ops []Op
	for g := range 300 {
		for replica := range 3 {
			for n := range 30 {
				call := 3000*g + 300*replica + 100*n
				ops = append(ops, token(replica, uint64(g+1), call, call+5))
			}
		}
	}
	began := time.Now()
	got, _ := linearize(ops, func(*Op) time.Duration { return time.Second })
	if got != porcupine.Ok {
		t.Errorf("%v after %v", got, time.Since(began))
	}
}

func TestOneReplicaNeverGoesBack(t *testing.T) {
	for _, row := range []struct {
		name string
		want int
		ops  []Op
	}{
		{"forward", 0, []Op{token(0, 1, 0, 10), token(0, 2, 20, 30), token(0, 2, 40, 50)}},
		{"back at once", 1, []Op{token(0, 2, 0, 10), token(0, 1, 11, 20)}},
		{"calls that overlap", 0, []Op{token(0, 2, 0, 10), token(0, 1, 5, 20)}},
		{"a call that began early and came back late", 1, []Op{token(0, 3, 0, 10), token(0, 2, 5, 20), token(0, 2, 30, 40)}},
	} {
		if got := backwards(row.ops); len(got) != row.want {
			t.Errorf("%s: %q, want %d", row.name, got, row.want)
		}
	}
}

func TestEachSpendNeedsAnAnnouncementOfItsOwn(t *testing.T) {
	start := time.Now()
	second := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	for _, row := range []struct {
		name      string
		sends     []float64
		announced []float64
		want      int
	}{
		{"each its own", []float64{0.1, 10.1}, []float64{0, 10}, 0},
		{"one that was never spent", []float64{10.1}, []float64{0, 10}, 0},
		{"an announced repeat", []float64{0.1, 5.1}, []float64{0, 5}, 0},
		{"two of one attempt", []float64{0.1, 0.2}, []float64{0}, 1},
		{"a stale holder and its successor", []float64{0.1, 5.1, 5.2}, []float64{0, 5}, 1},
		{"after its lease", []float64{7}, []float64{0}, 1},
		{"nothing announced", []float64{1}, nil, 1},
		{"before it was announced", []float64{0}, []float64{3}, 1},
	} {
		var sends []atlassiansim.Exchange
		for _, s := range row.sends {
			sends = append(sends, atlassiansim.Exchange{At: second(s)})
		}
		var announced []Announced
		for _, s := range row.announced {
			announced = append(announced, Announced{At: second(s)})
		}
		if got := unannounced(sends, announced); len(got) != row.want {
			t.Errorf("%s: %d spends without an announcement, want %d", row.name, len(got), row.want)
		}
	}
}
