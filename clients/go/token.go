package holdfast

import (
	"errors"
	"time"

	"golang.org/x/oauth2"

	"github.com/holdfast-io/holdfast/clients/go/internal/wall"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// minInterval is the least time between two background calls for one token,
// also if the broker says that a refresh is overdue: it tries by itself.
const minInterval = 5 * time.Second

// token is one answer of the broker with its times as ages: durations since the
// request was sent. An age counts by the broker's clock, and from the sending
// rather than from the answer, so that it errs on the early side by at most the
// call's round trip.
type token struct {
	sent       time.Time
	wall       int64     // sent by the wall clock, in nanoseconds
	server     time.Time // by the broker's clock, when it answered
	grantID    string
	generation uint64
	apiBase    string
	oauth      *oauth2.Token // handed out as it is; nobody may change it

	// softAge: ask again in the background; guaranteedAge: from here on the
	// provider may refuse the token; expiryAge: from here on it surely does.
	softAge, guaranteedAge, expiryAge time.Duration
}

func newToken(sent time.Time, a *holdfastv1.GetAccessTokenResponse) (*token, error) {
	if a.GetAccessToken() == "" || a.GetExpiresAt() == nil || a.GetServerTime() == nil {
		return nil, &Error{
			Reason: Internal, Message: "the broker's answer lacks the token, its expiry or the time of the answer; report this",
			cause: errors.New("incomplete GetAccessTokenResponse"),
		}
	}
	server := a.GetServerTime().AsTime()
	t := &token{sent: sent, wall: wall.Nanos(sent), server: server, grantID: a.GetGrantId(), generation: a.GetGeneration(), apiBase: a.GetApiBaseUrl()}
	t.expiryAge = a.GetExpiresAt().AsTime().Sub(server)
	t.guaranteedAge = t.expiryAge
	if g := a.GetGuaranteedUntil(); g != nil {
		t.guaranteedAge = min(t.expiryAge, g.AsTime().Sub(server))
	}
	t.softAge = t.guaranteedAge
	if r := a.GetRefreshAfter(); r != nil {
		t.softAge = r.AsTime().Sub(server)
	}
	if t.softAge >= t.guaranteedAge {
		// Ask early enough that nobody ever has to wait for the answer.
		t.softAge = t.guaranteedAge * 3 / 4
	}
	t.softAge = min(max(t.softAge, minInterval), t.guaranteedAge)
	bare := oauth2.Token{AccessToken: a.GetAccessToken(), TokenType: "Bearer", Expiry: sent.Add(t.expiryAge)}
	t.oauth = bare.WithExtra(map[string]any{"api_base_url": t.apiBase, "generation": t.generation})
	return t, nil
}

// newerThan reports whether t is certainly newer than o. A grant that was purged and
// made again has its id again and counts from 1 again: its first tokens look old
// until the source has been refused once, or has lost the token from before.
func (t *token) newerThan(o *token) bool {
	return t.grantID == o.grantID && t.generation > o.generation
}

// age of t. A suspended machine stops the monotonic clock, and somebody may set
// the wall clock: the one that ran further is believed, since a call too many
// does no harm.
func (t *token) age(now time.Time) time.Duration {
	return max(now.Sub(t.sent), time.Duration(wall.Nanos(now)-t.wall))
}
