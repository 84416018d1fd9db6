package atlassian

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
)

// The grant types of RFC 6749 that are spent here.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
)

// Code is an authorization code and what its exchange must repeat.
type Code struct {
	Code secret.String
	// Verifier of PKCE; empty: none was announced.
	Verifier    secret.String
	RedirectURI string
}

// Exchange spends an authorization code. guard runs as the last thing before
// the first byte leaves; an error of it means nothing is written. nil: no
// guard. It must not block. Exchange blocks until the answer, ctx, or the HTTP
// timeout; it never sends more than one POST.
//
// A Settled outcome without a refresh token is possible: the consent lacked
// the offline scope.
func (p *Provider) Exchange(ctx context.Context, c Credentials, code Code, guard func() error) family.Outcome {
	params := map[string]string{
		"grant_type":   grantCode,
		"code":         code.Code.Reveal(),
		"redirect_uri": code.RedirectURI,
	}
	if p.profile.PKCE && !code.Verifier.Empty() {
		params["code_verifier"] = code.Verifier.Reveal()
	}
	return p.spend(ctx, c, params, guard)
}

// Refresh spends a refresh token; otherwise as Exchange. A Settled outcome
// without a refresh token means that the one spent stays the current one.
func (p *Provider) Refresh(ctx context.Context, c Credentials, refresh secret.String, guard func() error) family.Outcome {
	return p.spend(ctx, c, map[string]string{
		"grant_type":    grantRefresh,
		"refresh_token": refresh.Reveal(),
	}, guard)
}

func (p *Provider) spend(ctx context.Context, c Credentials, params map[string]string, guard func() error) family.Outcome {
	params["client_id"] = c.ClientID
	params["client_secret"] = c.Secret.Reveal()
	contentType, body := encode(p.profile.Body, params)
	return p.classify(params["grant_type"], p.post(ctx, contentType, body, guard))
}

func encode(format BodyFormat, params map[string]string) (contentType string, body []byte) {
	if format == BodyJSON {
		body, err := json.Marshal(params)
		if err != nil {
			panic("encoding a map of strings cannot fail")
		}
		return "application/json", body
	}
	form := url.Values{}
	for name, value := range params {
		form.Set(name, value)
	}
	return "application/x-www-form-urlencoded", []byte(form.Encode())
}
