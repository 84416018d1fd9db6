package atlassian

import (
	"golang.org/x/oauth2"

	"github.com/holdfast-io/holdfast/secret"
)

// AuthorizeRequest is one consent about to be asked for.
type AuthorizeRequest struct {
	ClientID, RedirectURI, State string
	// Scopes exactly as they are sent; see [Profile.ConsentScopes].
	Scopes []string
	// Verifier of PKCE, from [NewVerifier]; empty: no challenge is sent.
	Verifier secret.String
}

// NewVerifier returns a fresh PKCE verifier (RFC 7636), 32 random bytes.
func NewVerifier() secret.String { return secret.New(oauth2.GenerateVerifier()) }

// AuthorizeURL returns where to send the person who consents.
func (p *Provider) AuthorizeURL(r AuthorizeRequest) string {
	config := oauth2.Config{
		ClientID: r.ClientID, RedirectURL: r.RedirectURI, Scopes: r.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: p.profile.AuthorizeURL},
	}
	var options []oauth2.AuthCodeOption
	for name, value := range p.profile.AuthorizeParams {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	if p.profile.PKCE && !r.Verifier.Empty() {
		options = append(options, oauth2.S256ChallengeOption(r.Verifier.Reveal()))
	}
	return config.AuthCodeURL(r.State, options...)
}
