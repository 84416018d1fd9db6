package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// step is one operation of a grant's history, as the model knows it.
type step struct {
	verb  Verb
	grant int
	// generation handed out; 0: the answer was that there is no consent.
	generation uint64
}

// state of one grant: the newest generation that was handed out, and whether a
// consent is in force.
type state struct {
	generation uint64
	active     bool
}

// model is a grant as callers see it: its generation only grows, by itself at any
// time, since any replica may rotate it; nothing is handed out after a revocation.
var model = porcupine.Model{
	Init: func() any { return state{active: true} },
	Step: func(from, input, _ any) (bool, any) {
		s, in := from.(state), input.(step)
		switch in.verb {
		case Revoke:
			return true, state{s.generation, false}
		case Consent:
			return true, state{s.generation, true}
		case Draw, Force:
			if in.generation == 0 {
				return !s.active, s
			}
			return s.active && in.generation >= s.generation, state{in.generation, s.active}
		}
		return false, s
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, _ any) string {
		in := input.(step)
		switch {
		case in.verb == Draw && in.generation == 0:
			return "no consent"
		case in.verb == Draw:
			return fmt.Sprint("token ", in.generation)
		}
		return string(in.verb)
	},
	DescribeState: func(s any) string {
		at := s.(state)
		if !at.active {
			return fmt.Sprintf("revoked after %d", at.generation)
		}
		return fmt.Sprint("generation ", at.generation)
	},
}

// modelPatience bounds the search for an order.
const modelPatience = 30 * time.Second

// boundOf is how old what an answer was made of may have been when the call
// began: what the documentation promises of a replica in the state that it was in.
type boundOf func(*Op) time.Duration

// linearize looks for an order of a grant's operations that explains all answers.
// It keeps of each generation and replica the answers that say the most: the first
// one to come back, and the last one to be asked for. All others follow from them.
func linearize(ops []Op, bound boundOf) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	return porcupine.CheckOperationsVerbose(model, operations(ops, bound), modelPatience)
}

// operations of the grant as the model knows them.
func operations(ops []Op, bound boundOf) []porcupine.Operation {
	type kind struct {
		generation     uint64
		replica, round int
	}
	first, last := map[kind]porcupine.Operation{}, map[kind]porcupine.Operation{}
	changes := map[change][]porcupine.Operation{}
	for _, o := range ops {
		p := porcupine.Operation{
			ClientId: o.Replica, Input: step{o.Verb, o.Grant, o.Generation}, Call: int64(o.Call), Return: int64(o.Return),
		}
		switch {
		case o.Verb == Revoke || o.Verb == Consent:
			k := change{o.Verb, o.Round}
			changes[k] = append(changes[k], p)
			continue
		case !o.Served() && !o.withoutConsent():
			continue // it says nothing about the grant
		}
		p.Call -= int64(bound(&o))
		k := kind{o.Generation, o.Replica, 0}
		if !o.Served() {
			k.round = o.Round
		}
		if f, ok := first[k]; !ok || p.Return < f.Return {
			first[k] = p
		}
		if l, ok := last[k]; !ok || p.Call > l.Call {
			last[k] = p
		}
	}
	var all []porcupine.Operation
	for _, tries := range changes {
		all = append(all, series(tries))
	}
	for k, p := range first {
		all = append(all, p)
		if l := last[k]; l != p {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b porcupine.Operation) int {
		return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Return, b.Return))
	})
	return all
}

// change is what a series of tries wants.
type change struct {
	verb  Verb
	round int
}

// series is one operation for all tries at the same change, of which the last one
// succeeded if any did: it was done at some time from the first call on, and by the
// return of the last. If it was done twice, the second time changed nothing. As many
// operations that may come at any later time would be too many orders to try.
func series(tries []porcupine.Operation) porcupine.Operation {
	one := tries[0]
	for _, p := range tries[1:] {
		one.Call, one.Return = min(one.Call, p.Call), min(one.Return, p.Return)
	}
	return one
}

// withoutConsent says that the answer was that a consent is missing.
func (o *Op) withoutConsent() bool {
	return o.Verb == Draw && (o.Reason == "GRANT_REVOKED" || o.Reason == "CONSENT_REQUIRED")
}

// backwards finds answers that go back although an earlier call had returned a
// newer one, within what one replica answered: no bound excuses it there. Lives
// count as one.
func backwards(ops []Op) (found []string) {
	type seen struct {
		generation uint64
		at         time.Duration
	}
	var returned []seen // the newest generation that had come back by a time, ascending
	served := slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return !o.Served() })
	slices.SortFunc(served, func(a, b Op) int { return cmp.Compare(a.Return, b.Return) })
	for _, o := range served {
		if n := len(returned); n == 0 || o.Generation > returned[n-1].generation {
			returned = append(returned, seen{o.Generation, o.Return})
		}
	}
	for _, o := range served {
		n, _ := slices.BinarySearchFunc(returned, o.Call, func(s seen, at time.Duration) int { return cmp.Compare(s.at, at) })
		if n > 0 && o.Generation < returned[n-1].generation {
			found = append(found, fmt.Sprintf("replica %d handed out generation %d of grant %d to a call of %v, after generation %d had come back at %v",
				o.Replica, o.Generation, o.Grant, o.Call, returned[n-1].generation, returned[n-1].at))
		}
	}
	return found
}
