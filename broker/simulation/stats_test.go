package simulation

import (
	"fmt"

	"github.com/holdfast-io/holdfast/broker/family"
)

// stats of one run, or of many.
type stats struct {
	seeds, rotations, consents, draws, faults, kills int
	doubts, saved, alternates, lapses, returns       int
	attempts                                         [4]int // by kind
	posts, lateReuses, lost                          int
	// stale are tokens that another replica's rotation had already ended.
	stale int
	// elsewhere are answers that another replica's rotation had replaced less than a second before.
	elsewhere int
	// mostInMinute and mostInFive are the most POSTs about one family in any
	// one and five minutes.
	mostInMinute, mostInFive int
}

func (s *stats) add(o stats) {
	s.seeds++
	s.rotations += o.rotations
	s.consents += o.consents
	s.draws += o.draws
	s.faults += o.faults
	s.kills += o.kills
	s.doubts += o.doubts
	s.saved += o.saved
	s.alternates += o.alternates
	s.lapses += o.lapses
	s.returns += o.returns
	for i := range s.attempts {
		s.attempts[i] += o.attempts[i]
	}
	s.posts += o.posts
	s.lateReuses += o.lateReuses
	s.lost += o.lost
	s.stale += o.stale
	s.elsewhere += o.elsewhere
	s.mostInMinute = max(s.mostInMinute, o.mostInMinute)
	s.mostInFive = max(s.mostInFive, o.mostInFive)
}

func (s stats) String() string {
	return fmt.Sprintf("rotations=%d draws=%d consents=%d faults=%d kills=%d doubts=%d repeats=%d saved_in_doubt=%d alternates=%d back_in_doubt=%d last_tries=%d late_sends=%d lapses=%d lost_beyond_saving=%d stale=%d replaced_elsewhere=%d posts=%d posts_per_family_per_minute_max=%d in_five_minutes_max=%d",
		s.rotations, s.draws, s.consents, s.faults, s.kills, s.doubts, s.attempts[family.Repeat], s.saved, s.alternates, s.returns,
		s.attempts[family.LastTry], s.lateReuses, s.lapses, s.lost, s.stale, s.elsewhere, s.posts, s.mostInMinute, s.mostInFive)
}
