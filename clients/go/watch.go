package holdfast

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// watchLife bounds one stream. The broker ends it after an hour by itself; this
	// is for a broker that cannot be reached any more.
	watchLife = 70 * time.Minute
	// watchDelay before a stream that ended is opened again; doubled, up to
	// maxRetryDelay, until one brings something.
	watchDelay = time.Second
)

// Watch has the broker send each newer token, and the end of the grant, as soon
// as it knows: a revocation takes effect here within moments, not at the next
// renewal, and callers hardly ever wait. It costs one stream for each source, from
// the first use of the source to the end of its context or of the client. While there
// is no stream the source asks as it would without this option, and opens another one.
func Watch() SourceOption { return func(o *sourceOptions) { o.watch = true } }

// watch keeps a stream open until ctx or the source's own context ends.
func (s *TokenSource) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	delay := watchDelay
	for {
		told, err := s.stream(ctx)
		if told {
			delay = watchDelay
		}
		if !sleep(ctx, s.client.spread(max(delay, min(err.RetryAfter, maxRetryDelay)))) {
			return
		}
		delay = min(2*delay, maxRetryDelay)
	}
}

// stream opens one and hears what it brings until it ends, and reports whether it
// brought anything.
func (s *TokenSource) stream(ctx context.Context) (told bool, err *Error) {
	ctx, cancel := context.WithTimeout(ctx, watchLife)
	defer cancel()
	opened, turn := time.Now(), s.client.files.turn()
	stream, failed := s.client.tokens.WatchAccessToken(ctx, s.watchRequest())
	if failed != nil {
		return false, s.client.refused(failed)
	}
	s.setLive(true)
	defer s.setLive(false)
	for {
		message, failed := stream.Recv()
		if failed != nil {
			err = s.client.refused(failed)
			// A credential that has ended may have a successor already, which the next call shows.
			if err.Reason == CallerUnauthenticated {
				s.client.files.replace(turn)
			} else {
				s.lose(err)
			}
			return told, err
		}
		told = true
		switch e := message.GetEvent().(type) {
		case *holdfastv1.WatchAccessTokenResponse_Token:
			s.gain(opened, e.Token)
		case *holdfastv1.WatchAccessTokenResponse_Unavailable:
			refused := fromBatch(e.Unavailable)
			s.lose(refused)
			s.hold(refused)
		}
	}
}

// watchRequest asks for tokens newer than those that are known.
func (s *TokenSource) watchRequest() *holdfastv1.WatchAccessTokenRequest {
	req := proto.CloneOf(s.request)
	req.MinTtl = nil // the broker sends a newer token in time by itself
	s.mu.Lock()
	defer s.mu.Unlock()
	req.IfNotGeneration = s.refused
	if s.current != nil {
		req.IfNotGeneration = max(s.refused, s.current.generation)
	}
	return &holdfastv1.WatchAccessTokenRequest{Token: req}
}

func (s *TokenSource) setLive(live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = live
}

// gain takes a token that a stream brought, opened at that time.
func (s *TokenSource) gain(opened time.Time, a *holdfastv1.GetAccessTokenResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := a.GetServerTime().AsTime()
	if s.clock.local.IsZero() {
		s.clock = anchor{opened, server}
	}
	t, err := newToken(s.clock.when(server, time.Now()), a)
	// An incomplete answer is the business of the next call, which gets it too.
	if err == nil && t.generation > s.refused {
		s.accept(t)
	}
}

// lose drops the token for a refusal that is final, and with it whatever a call that is
// under way brings: it may have been answered before.
func (s *TokenSource) lose(e *Error) {
	if e.Temporary() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
	s.losses++
	s.retryAt, s.failure = time.Time{}, nil // the next call asks why, whatever failed before
}

// hold off calls for a refusal that is not final.
func (s *TokenSource) hold(e *Error) {
	if !e.Temporary() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postpone(e, time.Now())
}

// anchor ties the broker's clock to the local one: when the broker's showed server,
// it was not earlier than local here. The answer to a call, which was not given before
// the call was sent, makes one.
type anchor struct{ local, server time.Time }

// when was it here at the earliest that the broker's clock showed server? Not later
// than now. A message may have lain in a buffer for long, e.g. while the machine was
// suspended, so that the time of its arrival says little about its age.
func (a anchor) when(server, now time.Time) time.Time {
	if at := a.local.Add(server.Sub(a.server)); at.Before(now) {
		return at
	}
	return now
}
