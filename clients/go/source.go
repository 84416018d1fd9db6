package holdfast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// staticWait is how long a caller waits for the broker while an old token
	// that is no longer guaranteed, but not expired either, lies ready.
	staticWait = 2 * time.Second
	// retryDelay after a failed background call, if the broker names no longer
	// one, and the most that the broker may name.
	retryDelay, maxRetryDelay = time.Second, time.Minute
)

// TokenSource hands out access tokens of one grant from a cache that it keeps
// fresh; see the package's comment. It is safe for concurrent use. Make one per
// grant, and per site if several are used, and keep it.
type TokenSource struct {
	client  *Client
	ctx     context.Context // of Token, which has no context of its own, and of Watch
	request *holdfastv1.GetAccessTokenRequest
	watched bool  // by option
	bad     error // of the arguments; returned by every call

	mu       sync.Mutex // guards all below; never held while waiting
	watching bool       // watch has been started
	live     bool       // a stream is open
	losses   int        // of the token, by word of a stream
	clock    anchor     // of the newest answer to a call
	current  *token     // nil: none that may be handed out
	flight   *flight    // nil: no call under way
	// refused generation: the present one must be newer.
	refused uint64
	// reported is the generation last reported as rejected; reportAgain is when
	// it may be reported once more, if ever.
	reported    uint64
	reportAgain time.Time
	// No call before retryAt; until then failure is the answer if there is no token.
	retryAt time.Time
	failure error
}

var _ oauth2.TokenSource = (*TokenSource)(nil)

// SourceOption narrows what a TokenSource asks for, or changes how it does.
type SourceOption func(*sourceOptions)

type sourceOptions struct {
	*holdfastv1.GetAccessTokenRequest
	watch bool
}

// Site chooses the site, by cloud id or URL, whose API base the answers name.
// Default: the grant's only site, if it has exactly one.
func Site(site string) SourceOption {
	return func(o *sourceOptions) { o.Site = site }
}

// Scopes that every token must have. Default: any token will do.
func Scopes(scopes ...string) SourceOption {
	return func(o *sourceOptions) { o.RequiredScopes = slices.Clone(scopes) }
}

// MinTTL is how long a token must still be valid when the broker hands it out;
// at most the provider's access grace, 10 minutes at Atlassian. Default: 0.
func MinTTL(d time.Duration) SourceOption {
	return func(o *sourceOptions) { o.MinTtl = durationpb.New(d) }
}

// Purpose is what the audit record shows, 1 to 64 of the characters
// a-z 0-9 . _ -. Default: none.
func Purpose(p string) SourceOption {
	return func(o *sourceOptions) { o.GetAccessTokenRequest.Purpose = p }
}

// TokenSource returns a source of tokens of a grant, given by its id or its
// address tenant/subject/product[/name]. It makes no call; a grant that does
// not parse is the error of every later call. The end of ctx ends the waiting
// of Token, and the watching, not the calls under way: those end by their own
// timeout or by Close.
func (c *Client) TokenSource(ctx context.Context, grant string, opts ...SourceOption) *TokenSource {
	o := sourceOptions{GetAccessTokenRequest: &holdfastv1.GetAccessTokenRequest{}}
	for _, opt := range opts {
		opt(&o)
	}
	s := &TokenSource{client: c, ctx: ctx, request: o.GetAccessTokenRequest, watched: o.watch}
	s.request.Grant, s.bad = selector(grant)
	return s
}

// Token returns a token that is valid now. It blocks only if there is none in
// the cache, at most as long as the client's timeout. Do not change the token: it is
// shared, as oauth2.TokenSource permits. Nor keep it, e.g. by
// oauth2.ReuseTokenSource or oauth2.NewClient: once there is a newer one the provider may
// refuse it before its Expiry.
func (s *TokenSource) Token() (*oauth2.Token, error) { return s.TokenContext(s.ctx) }

// TokenContext is Token, waiting no longer than ctx. If this call is the one that
// makes the source ask the broker, the call to the broker carries the values of ctx,
// such as the span of a trace; it does not end with ctx, since others wait for it too.
func (s *TokenSource) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	t, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	return t.oauth, nil
}

// APIBase returns the base URL of the product's API for the site, without a
// trailing slash. It blocks as Token does. Without a Site option it fails if
// the grant does not have exactly one site.
func (s *TokenSource) APIBase(ctx context.Context) (string, error) {
	t, err := s.get(ctx)
	if err != nil {
		return "", err
	}
	if t.apiBase == "" {
		return "", errors.New("holdfast: the grant has no site or several, so there is no API base URL; choose one with the Site option")
	}
	return t.apiBase, nil
}

// get returns a token from the cache or waits for one.
func (s *TokenSource) get(ctx context.Context) (*token, error) {
	if s.bad != nil {
		return nil, s.bad
	}
	if s.client.ctx.Err() != nil {
		return nil, ErrClosed
	}
	for {
		s.mu.Lock()
		static, f, err := s.look(ctx, time.Now())
		s.mu.Unlock()
		if err != nil || f == nil {
			return static, err
		}
		got, err := f.wait(ctx, static != nil)
		switch {
		case errors.Is(err, errAccepted):
			continue // it was somebody's report and not a question for a token: ask
		case err == nil || static == nil || !temporary(err) && !errors.Is(err, errStillWaiting):
			return got, err
		case static.age(time.Now()) < static.expiryAge:
			return static, nil
		}
		// It expired meanwhile: there is nothing to fall back on.
		if got, err = f.wait(ctx, false); !errors.Is(err, errAccepted) {
			return got, err
		}
	}
}

// look returns a token to hand out at once, or a flight to wait for with, maybe,
// a token to fall back on, or an error. A flight that it launches carries the values
// of ctx. The caller holds mu.
func (s *TokenSource) look(ctx context.Context, now time.Time) (*token, *flight, error) {
	t := s.current
	var age time.Duration
	if t != nil {
		if age = t.age(now); age >= t.expiryAge {
			s.current, t = nil, nil
		}
	}
	switch {
	case t != nil && age < t.softAge:
		return t, nil, nil
	case t != nil && s.live && age < (t.softAge+t.guaranteedAge)/2:
		return t, nil, nil // a stream is about to bring a newer one, if there is one
	}
	held := now.Before(s.retryAt)
	switch {
	case t != nil && age < t.guaranteedAge:
		if s.flight == nil && !held {
			// A closed client is the one error possible; the token is still good.
			_ = s.launch(ctx, &flight{})
		}
		return t, nil, nil
	case t != nil && held && s.flight == nil:
		return t, nil, nil
	case t == nil && held && s.flight == nil:
		return nil, nil, s.failure
	}
	if s.flight == nil {
		if err := s.launch(ctx, &flight{}); err != nil {
			return nil, nil, err
		}
	}
	return t, s.flight, nil
}

// settle records how a flight ended. The caller holds mu.
func (s *TokenSource) settle(f *flight, now time.Time) {
	s.flight = nil
	s.retryAt, s.failure = time.Time{}, nil
	e, isError := errors.AsType[*Error](f.err)
	switch {
	case f.err == nil:
		s.clock = anchor{f.token.sent, f.token.server}
		if f.losses == s.losses {
			s.accept(f.token)
		}
	case temporary(f.err):
		s.postpone(e, now)
	case isError:
		s.current = nil // a refusal is about this grant or this caller: believe it
	}
	if s.watched && !s.watching {
		// Not before the first answer, so that the stream need not bring it as well.
		s.watching = s.client.spawn(func() { s.watch(s.client.ctx) }) == nil
	}
}

// accept a token that may be handed out. The caller holds mu.
func (s *TokenSource) accept(t *token) {
	if s.current == nil || !s.current.newerThan(t) {
		s.current = t
	}
	if t.generation > s.refused {
		s.refused = 0
	}
	s.retryAt, s.failure = time.Time{}, nil
}

// postpone the next call after a refusal that is not final. The caller holds mu.
func (s *TokenSource) postpone(e *Error, now time.Time) {
	delay := min(max(e.RetryAfter, retryDelay), maxRetryDelay)
	switch {
	case s.current != nil:
		delay = s.client.spread(delay)
	case e.RetryAfter == 0:
		return // with nothing to hand out and no time named, the next caller may try at once
	}
	s.retryAt, s.failure = now.Add(delay), e
}

// String names the grant; it never shows a token.
func (s *TokenSource) String() string {
	return fmt.Sprintf("holdfast.TokenSource(%v)", s.request.GetGrant())
}
