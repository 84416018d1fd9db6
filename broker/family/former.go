package family

import (
	"cmp"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// Former is an access token that the family no longer serves and that may still
// be alive: a rotation leaves the one before it the access grace, a new consent
// leaves that of the old family its whole life. Who ends a grant must know them.
type Former struct {
	Generation uint64
	// Token until the state is stored; from then on Fingerprint alone names it.
	Token       secret.String
	Fingerprint string
	// DiesAt counts, as Access.ExpiresAt does, from the start of its attempt.
	DiesAt time.Time
}

const (
	// mostFormer are kept. More can only come of as many forced rotations within
	// one access grace; the first to die gives way.
	mostFormer = 32
	// formerKept is how long one is kept after its end: longer than an exchange
	// takes, by which the token may be younger than its expiry says.
	formerKept = 5 * time.Minute
)

// remembering keeps in s the access tokens of the state before it that it does
// not hold any more. A rotation cuts the one in use short at cut; zero: there was
// none.
func (s State) remembering(before State, now, cut time.Time) State {
	held := s.accesses()
	var fresh []Former
	for i, a := range before.accesses() {
		if slices.ContainsFunc(held, func(h Former) bool { return h.Token.Equal(a.Token) }) {
			continue
		}
		if i == 0 && before.Access.Token.Equal(a.Token) && !cut.IsZero() && cut.Before(a.DiesAt) {
			a.DiesAt = cut
		}
		fresh = append(fresh, a)
	}
	all := append(slices.Clone(s.Former), fresh...)
	all = slices.DeleteFunc(all, func(f Former) bool { return now.Sub(f.DiesAt) > formerKept })
	if len(all) > mostFormer {
		slices.SortStableFunc(all, func(a, b Former) int { return a.DiesAt.Compare(b.DiesAt) })
		all = all[len(all)-mostFormer:]
	}
	s.Former = all
	return s
}

// cutBy is when the token of before, which is in use, dies by the rotation that
// led to s; zero: none did.
func (s State) cutBy(before State, t Timing, now time.Time) time.Time {
	if s.Generation > before.Generation && s.FamilyFirst == before.FamilyFirst {
		return now.Add(t.AccessGrace)
	}
	return time.Time{}
}

// accesses are the access tokens that the state holds, the one in use first.
func (s State) accesses() []Former {
	var all []Former
	if !s.Access.Token.Empty() && !s.Access.Rejected {
		all = append(all, Former{Generation: s.Generation, Token: s.Access.Token, DiesAt: s.Access.ExpiresAt})
	}
	for _, a := range s.Alternates {
		if !a.Access.Token.Empty() {
			all = append(all, Former{Generation: a.Generation, Token: a.Access.Token, DiesAt: a.Access.ExpiresAt})
		}
	}
	return all
}

// Living returns the access tokens of the grant that may be alive, newest first,
// each with the time at which it is dead for certain, unless it dies earlier.
func (s State) Living(t Timing, now time.Time) []Former {
	all := append(s.accesses(), s.Former...)
	for i := range all {
		// The provider issued it some time between announcement and answer.
		all[i].DiesAt = all[i].DiesAt.Add(t.HTTPTimeout)
	}
	all = slices.DeleteFunc(all, func(f Former) bool { return !f.DiesAt.After(now) })
	slices.SortStableFunc(all, func(a, b Former) int { return cmp.Compare(b.Generation, a.Generation) })
	return all
}
