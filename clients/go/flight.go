package holdfast

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// errStillWaiting: a caller with a token to fall back on has waited long enough.
var errStillWaiting = errors.New("holdfast: still waiting for the broker")

// errAccepted: the provider accepts the reported token; its 401 had another cause.
var errAccepted = errors.New("holdfast: the provider accepts the token; the refusal has another cause")

// unverifiedDelay is the least time before a report that brought no verdict is repeated.
const unverifiedDelay = time.Minute

// flight is one call to the broker that any number of callers wait for.
type flight struct {
	// rejected generation to report first, and the status that it met; 0: none.
	rejected uint64
	status   int

	losses int           // of the source's token before this call
	done   chan struct{} // closed when token and err are set
	// Exactly one is set. They do not change after done.
	token *token
	err   error
}

// wait for the outcome until ctx ends; if impatient, for staticWait at most.
func (f *flight) wait(ctx context.Context, impatient bool) (*token, error) {
	if impatient {
		patience := time.NewTimer(staticWait)
		defer patience.Stop()
		select {
		case <-f.done:
			return f.token, f.err
		case <-patience.C:
			return nil, errStillWaiting
		case <-ctx.Done():
			return nil, errStillWaiting
		}
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// launch starts f on a goroutine of the client, with the values of the context of
// the caller that is the cause. The caller holds mu.
func (s *TokenSource) launch(cause context.Context, f *flight) error {
	f.done, f.losses = make(chan struct{}), s.losses
	err := s.client.start(cause, func(ctx context.Context) {
		f.token, f.err = s.fly(ctx, f)
		if s.client.ctx.Err() != nil && f.err != nil {
			f.err = ErrClosed
		}
		s.mu.Lock()
		s.settle(f, time.Now())
		s.mu.Unlock()
		close(f.done)
	})
	if err == nil {
		s.flight = f
	}
	return err
}

// fly reports the rejected generation, if any, and gets a token.
func (s *TokenSource) fly(ctx context.Context, f *flight) (*token, error) {
	if f.rejected != 0 {
		if err := s.report(ctx, f); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	avoid := max(s.refused, f.rejected)
	s.mu.Unlock()
	for {
		t, err := s.fetch(ctx, avoid)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Reason != RefreshInProgress || !sleep(ctx, s.client.spread(max(e.RetryAfter, 100*time.Millisecond))) {
			return t, err
		}
	}
}

// sleep reports false, at once, if ctx ends before d has passed.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *TokenSource) fetch(ctx context.Context, avoid uint64) (*token, error) {
	req := s.request
	if avoid != 0 {
		req = proto.CloneOf(req)
		req.IfNotGeneration = avoid
	}
	sent := time.Now()
	answer, err := call(ctx, s.client, s.client.tokens.GetAccessToken, req)
	if err != nil {
		return nil, err
	}
	return newToken(sent, answer)
}

// report tells the broker of the rejected generation and notes its verdict.
func (s *TokenSource) report(ctx context.Context, f *flight) error {
	answer, err := call(ctx, s.client, s.client.tokens.ReportRejectedToken, &holdfastv1.ReportRejectedTokenRequest{
		Grant: s.request.GetGrant(), Generation: f.rejected, HttpStatus: uint32(f.status),
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.reportAgain = time.Now() // the broker did not hear of it
		return err
	}
	switch answer.GetVerdict() {
	case holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_ACCEPTED:
		return errAccepted
	case holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_REJECTED, holdfastv1.TokenVerdict_TOKEN_VERDICT_GENERATION_STALE:
		s.refused = f.rejected
		if s.current != nil && s.current.generation <= f.rejected {
			s.current = nil
		}
	default:
		s.reportAgain = time.Now().Add(unverifiedDelay)
	}
	return nil
}

// newer is called when the API answered the token of a generation with a 401.
// It reports the generation, once, and waits for a token of a later one; nil
// says that there is none. While no call may be made nothing is reported, and nothing
// counts as reported.
func (s *TokenSource) newer(ctx context.Context, generation uint64, status int) *token {
	for {
		s.mu.Lock()
		if s.current != nil && s.current.generation > generation {
			defer s.mu.Unlock()
			return s.current
		}
		f := s.flight
		mine := f != nil && f.rejected == generation
		if f == nil {
			now := time.Now()
			known := generation < s.reported || generation == s.reported && (s.reportAgain.IsZero() || now.Before(s.reportAgain))
			if known || now.Before(s.retryAt) {
				s.mu.Unlock()
				return nil
			}
			f, mine = &flight{rejected: generation, status: status}, true
			s.reported, s.reportAgain = generation, time.Time{}
			if s.launch(ctx, f) != nil {
				s.mu.Unlock()
				return nil
			}
		}
		s.mu.Unlock()
		t, err := f.wait(ctx, false)
		if err == nil && t.generation > generation {
			return t
		}
		if mine || ctx.Err() != nil {
			return nil
		}
	}
}
