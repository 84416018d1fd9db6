package atlassian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
)

// neverIssued stands in for a refresh token where only the client is asked
// about. No provider has issued it, so sending it can end no family.
const neverIssued = "holdfast-asks-about-the-client-only"

// ErrUnclear means that a check learned nothing about what it asked: the
// provider could not be reached, or its answer was of something else.
var ErrUnclear = errors.New("no clear answer")

// CheckClient asks whether the provider knows a client and its secret, with a
// refresh token that nobody has ever been given: a refusal of that token is
// the good answer. nil: it knows the client; ErrUnclear: it said
// nothing about it. It blocks until the answer, ctx, or the HTTP timeout.
func (p *Provider) CheckClient(ctx context.Context, c Credentials) error {
	switch o := p.Refresh(ctx, c, secret.New(neverIssued), nil); o.Class {
	case family.Refused:
		return nil
	case family.Misconfigured:
		if o.Code == "other_client" {
			return nil // it was recognised, and the token was not its own
		}
		return fmt.Errorf("the provider refuses the client (%s)", o.Code)
	case family.Settled:
		return errors.New("the provider answered an invented refresh token with a new one: it checks nothing")
	default:
		return fmt.Errorf("%w (%s)", ErrUnclear, o.Code)
	}
}

// Objection is what a provider has against a consent before a person has seen it.
type Objection struct {
	// Word is the OAuth error, e.g. "unauthorized_client"; empty: it has none.
	Word string
	// Certain: the provider would send the person back to the callback as asked.
	// Otherwise all that is known is that its first answer raises no objection.
	Certain bool
}

// CheckAuthorize asks the authorize endpoint for r as a browser would, without
// following where it leads, and says what the answer objects to. It blocks
// until the answer, ctx, or the HTTP timeout.
func (p *Provider) CheckAuthorize(ctx context.Context, r AuthorizeRequest) (Objection, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.AuthorizeURL(r), nil)
	if err != nil {
		return Objection{}, errors.New("the profile's authorize URL is no URL")
	}
	req.Header.Set("User-Agent", "holdfast")
	resp, err := p.reads.Do(req)
	if err != nil {
		return Objection{}, errors.New(describe(err))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxRead)) // so that the connection can be used again
	location, err := resp.Location()
	switch {
	case err == nil:
		back := strings.HasPrefix(location.String(), r.RedirectURI)
		if word := errorWord(location); word != "" {
			return Objection{Word: word}, nil
		}
		return Objection{Certain: back}, nil
	case resp.StatusCode >= 400:
		return Objection{Word: httpWord(resp.StatusCode)}, nil
	}
	return Objection{}, nil
}

// errorWord is the OAuth error that a redirect carries, if it is one word of the
// characters that RFC 6749 section 4.1.2.1 uses in its names.
func errorWord(u *url.URL) string {
	word := u.Query().Get("error")
	if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_") == "" && len(word) <= 64 {
		return word
	}
	return "error"
}
