package atlassian

import (
	"bytes"
	"context"
	"net/http"

	"github.com/holdfast-io/holdfast/secret"
)

// Revocation says what asking the provider to end a token did. The words are
// the contract's.
type Revocation string

// The results of a revocation.
const (
	// RevocationDone: the provider says that the token has ended.
	RevocationDone Revocation = "DONE"
	// RevocationNotOffered: the profile knows no revocation; nothing was sent.
	RevocationNotOffered Revocation = "NOT_OFFERED"
	// RevocationUnverified: asked, but there was no clear answer, or the
	// profile says that the answer proves nothing.
	RevocationUnverified Revocation = "UNVERIFIED"
)

// Revoke asks the provider to end a refresh token (RFC 7009). It blocks until
// the answer, ctx, or the HTTP timeout. It may be repeated.
func (p *Provider) Revoke(ctx context.Context, c Credentials, token secret.String) Revocation {
	if p.profile.Revoke == RevokeNone {
		return RevocationNotOffered
	}
	// RFC 7009 section 2.1 knows the form only, whatever the token endpoint takes.
	contentType, body := encode(BodyForm, map[string]string{
		"client_id": c.ClientID, "client_secret": c.Secret.Reveal(),
		"token": token.Reveal(), "token_type_hint": "refresh_token",
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.profile.RevokeURL, bytes.NewReader(body))
	if err != nil {
		return RevocationUnverified
	}
	req.Header.Set("Content-Type", contentType)
	status, _, err := p.do(req)
	if err == nil && status == http.StatusOK && p.profile.Revoke == RevokeEffective {
		return RevocationDone
	}
	return RevocationUnverified
}
