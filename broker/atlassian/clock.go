package atlassian

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Clock is what an answer's Date header (RFC 9110, section 6.6.1) said about
// our clock. The header counts whole seconds.
type Clock struct {
	// Ahead is by how much our clock is ahead of the provider's at the least;
	// negative: behind. 0 says that they agree as well as can be known.
	Ahead time.Duration
	// At is when the answer came, by our clock.
	At time.Time
}

// prompt is how long an exchange may take for its Date header to say anything:
// a header may be as old as the request.
const prompt = 10 * time.Second

// Clock returns what the newest prompt answer of the provider, of any kind,
// said about our clock; false: there was none yet. It does not block.
func (p *Provider) Clock() (Clock, bool) {
	c := p.clock.Load()
	if c == nil {
		return Clock{}, false
	}
	return *c, true
}

// noteDate takes the Date header of an answer to a request sent at sent.
// Answers without one, and slow ones, say nothing.
func (p *Provider) noteDate(sent time.Time, h http.Header) {
	received := p.now()
	date, err := http.ParseTime(h.Get("Date"))
	if took := received.Sub(sent); err != nil || took < 0 || took > prompt {
		return
	}
	c := Clock{At: received}
	switch {
	case received.Before(date):
		c.Ahead = received.Sub(date)
	case sent.After(date.Add(time.Second)):
		c.Ahead = sent.Sub(date.Add(time.Second))
	}
	p.clock.Store(&c)
}

// CheckClock asks the provider for nothing but the time: a GET without any
// token, whose answer may be a refusal. It blocks until the answer, ctx, or the
// HTTP timeout.
func (p *Provider) CheckClock(ctx context.Context) (Clock, error) {
	target := cmp.Or(p.profile.ResourcesURL, p.profile.AccountURL, p.profile.TokenURL)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return Clock{}, errors.New("asking the provider for the time: the profile's URL is no URL")
	}
	before := p.now()
	if _, _, err := p.do(req); err != nil {
		return Clock{}, fmt.Errorf("asking the provider for the time: %w", err)
	}
	if c, ok := p.Clock(); ok && !c.At.Before(before) {
		return c, nil
	}
	return Clock{}, errors.New("asking the provider for the time: its answer had no Date header, or took too long")
}
