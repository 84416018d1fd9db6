package broker

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// WhoHadQuery asks who was handed an access token. Exactly one of Token,
// Fingerprint, and ID or Address is set.
type WhoHadQuery struct {
	Token       secret.String
	Fingerprint string
	// ID or Address of a grant: every token of it.
	ID      string
	Address storage.Address
	// Since: only hand-outs after this; zero: as far back as the record goes.
	Since time.Time
	// Limit 1 to 1000; 0 means 100.
	Limit int
}

// HandOut is one access token handed to one caller.
type HandOut struct {
	At                              time.Time
	Caller                          string
	CallerKind                      CallerKind
	Rule, Grant, GrantID            string
	Purpose, RequestID, Fingerprint string
	Generation                      uint64
	// AliveUntil is when the token dies at the latest: its expiry, or earlier if a
	// rotation cut it short and the store still knows of that.
	AliveUntil time.Time
}

// WhoHadAnswer lists hand-outs, newest first.
type WhoHadAnswer struct {
	HandOuts []HandOut
	// More hand-outs are in the record than were asked for.
	More bool
	// SearchedFrom is the time of the oldest record that was looked at.
	SearchedFrom time.Time
	// Fingerprint of the token asked about; empty: a grant was.
	Fingerprint string
}

const (
	defaultWhoHad = 100
	mostWhoHad    = 1000
)

// WhoHad finds in the audit record who was handed a token. Hand-outs of grants that
// the policy hides from the caller are left out. It blocks as long as reading the
// record takes, or until ctx ends. The token is neither logged nor recorded.
func (b *Broker) WhoHad(ctx context.Context, caller Caller, q WhoHadQuery) (*WhoHadAnswer, error) {
	var c *call
	var err error
	ofGrant := q.ID != "" || q.Address != (storage.Address{})
	if ofGrant {
		c, _, err = b.passNamed(ctx, caller, "WhoHad", q.ID, &policy.Request{Action: policy.Investigate, Address: q.Address})
	} else {
		c, err = b.enterListing(caller, "WhoHad", policy.Investigate)
	}
	var answer *WhoHadAnswer
	if err == nil {
		answer, err = b.whoHad(ctx, c, caller, q, ofGrant)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return answer, nil
}

func (b *Broker) whoHad(ctx context.Context, c *call, caller Caller, q WhoHadQuery, ofGrant bool) (*WhoHadAnswer, error) {
	if q.Limit < 0 || q.Limit > mostWhoHad {
		return nil, invalid("limit", "limit must be from 0 to %d", mostWhoHad)
	}
	if q.Limit == 0 {
		q.Limit = defaultWhoHad
	}
	search := audit.Query{Since: q.Since, Limit: q.Limit}
	switch {
	case ofGrant && q.ID != "":
		search.GrantID = q.ID
	case ofGrant:
		search.GrantID = q.Address.GrantID()
	case !q.Token.Empty():
		search.Fingerprint = b.fingerprint(q.Token)
	default:
		search.Fingerprint = q.Fingerprint
	}
	if search.Fingerprint != "" {
		c.rec.Detail = "token " + search.Fingerprint
	}
	found, err := b.cfg.Audit.Search(ctx, search)
	if err != nil {
		return nil, searchError(err)
	}
	answer := &WhoHadAnswer{More: found.More, SearchedFrom: found.From, Fingerprint: search.Fingerprint}
	ends := lifeEnds{}
	for i := range found.HandOuts {
		r := &found.HandOuts[i]
		a, err := storage.ParseAddress(r.Grant)
		if err != nil || !b.sees(caller, policy.Investigate, a) {
			continue
		}
		answer.HandOuts = append(answer.HandOuts, HandOut{
			At: r.Time, Caller: r.Caller, CallerKind: CallerKind(r.CallerKind), Rule: r.Rule, Grant: r.Grant, GrantID: r.GrantID,
			Purpose: r.Purpose, RequestID: r.RequestID, Fingerprint: r.Fingerprint, Generation: r.Generation,
			AliveUntil: b.aliveUntil(ctx, ends, r),
		})
	}
	return answer, nil
}

// lifeEnds are when tokens of grants die, by grant id and fingerprint.
type lifeEnds map[string]map[string]time.Time

// aliveUntil is the expiry that was recorded, or an earlier end if the store knows one.
func (b *Broker) aliveUntil(ctx context.Context, ends lifeEnds, r *audit.Record) time.Time {
	if !r.AliveUntil.After(b.now()) {
		return r.AliveUntil
	}
	known, read := ends[r.GrantID]
	if !read {
		known = map[string]time.Time{}
		if g, err := b.store.Grant(ctx, r.GrantID); err == nil { // else the expiry is what is known
			for _, t := range b.living(&g) {
				known[t.Fingerprint] = t.DiesAt
			}
		}
		ends[r.GrantID] = known
	}
	if end, ok := known[r.Fingerprint]; ok && end.Before(r.AliveUntil) {
		return end
	}
	return r.AliveUntil
}

func searchError(err error) *Error {
	switch {
	case errors.Is(err, audit.ErrNoFile):
		return &Error{Reason: ReasonInvalidRequest, cause: err,
			Message: "this broker keeps its audit record in no file (audit.file): search where its copies go, by the fingerprint"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Reason: ReasonAuditUnavailable, RetryAfter: retrySoon, cause: err,
			Message: "the audit record is so long that the search did not end before the call's deadline: ask with a longer one, or for a later time on"}
	}
	return &Error{Reason: ReasonAuditUnavailable, RetryAfter: retrySoon, cause: err, Message: "the audit record could not be read"}
}
