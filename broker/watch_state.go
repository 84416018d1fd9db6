package broker

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// tidings are what a watcher was sent, as far as it must not be sent again.
type tidings struct {
	// generation of the token; the token itself is empty if the caller named only
	// its generation. A sibling of the same generation is another token.
	generation uint64
	token      secret.String
	// reason is empty for a token; detail is what else makes it another refusal.
	reason Reason
	detail string
}

// tellable is what an answer or an error tells. Texts and links differ each time
// and tell nothing new.
func tellable(answer *TokenAnswer, err error) *tidings {
	if err == nil {
		return &tidings{generation: answer.Generation, token: answer.Token}
	}
	t := &tidings{reason: ReasonOf(err)}
	if e, ok := errors.AsType[*Error](err); ok {
		t.detail = strings.Join([]string{e.Metadata["why"], e.Metadata["sites"], e.Metadata["missing"]}, "\n")
	}
	return t
}

// knows reports whether the caller was told this already, or needs not be: that a
// refresh takes long is news only to who has nothing.
func (w *watcher) knows(next *tidings) bool {
	last := w.told
	switch {
	case last == nil:
		return false
	case next.reason == ReasonRefreshInProgress:
		return true
	case last.reason != next.reason || last.detail != next.detail:
		return false
	case next.reason != "":
		return true
	case last.token.Empty():
		return last.generation == next.generation
	}
	return last.generation == next.generation && last.token.Equal(next.token)
}

// ends reports whether an error is no state of the grant that may pass.
func ends(err error) bool {
	if err == nil {
		return false
	}
	switch ReasonOf(err) {
	case ReasonInvalidRequest, ReasonGrantNotFound, ReasonCallerUnauthenticated, ReasonCallerNotAllowed, ReasonCallerRateLimited:
		return true
	}
	return false
}

// quiet is how long an entry that was found servable needs not be looked at, unless
// it changes.
func (w *watcher) quiet(e *entry) time.Duration {
	b, now := w.b, w.b.now()
	st, until := b.normalized(&e.grant.State, now)
	from := st.AheadFrom(b.cfg.Timing.RefreshAhead)
	left := from.Sub(now) + jitter(st.Access.ExpiresAt.Sub(from)/10)
	if !from.After(now) { // a refresh has been begun, or was held back
		left = backgroundRest + jitter(backgroundRest/2)
	}
	quiet := watchQuiet - jitter(watchQuiet/2)
	if b.replica != nil && b.replica.lost() > 0 {
		quiet = retrySoon + jitter(retrySoon) // it is served for a while only
	}
	return min(left, until.Sub(now), quiet)
}

// quietAfter is how long nothing needs to be looked at after an error said why there
// is no token, unless the entry changes.
func quietAfter(err error) time.Duration {
	var after time.Duration
	if e, ok := errors.AsType[*Error](err); ok {
		after = e.RetryAfter
	}
	switch ReasonOf(err) {
	case ReasonSiteNotGranted, ReasonSiteAmbiguous:
		return siteQuiet + jitter(siteQuiet/10)
	case ReasonAppPaused:
		after = retrySoon // it resumes without a change of the grant
	}
	if after == 0 {
		after = watchQuiet
	}
	after = min(max(after, retrySoon), watchQuiet)
	return after + jitter(after/2)
}

// jitter is from 0 to most.
func jitter(most time.Duration) time.Duration {
	return rand.N(max(most, 0) + 1) //nolint:gosec // it only spreads
}
