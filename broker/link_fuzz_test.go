package broker_test

import (
	"testing"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/secret"
)

// FuzzTexts sends whatever a browser or a caller may send as link, state, code,
// cookie, id and page token through a whole broker: nobody gets in, and nothing
// is the broker's own fault.
func FuzzTexts(f *testing.F) {
	for _, s := range []string{"", "a.b", "eyJpIjoiIn0.AAAA", "cns_a", "grt_aaaaaaaaaaaaaaaaaaaaaaaaaa", "\x00", "\xff.\xff", "../../x"} {
		f.Add(s, s, s)
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		refused := func(what string, err error) {
			if err == nil || broker.ReasonOf(err) == broker.ReasonInternal {
				t.Errorf("%s of %q %q %q: %v", what, a, b, c, err)
			}
		}
		_, err := w.ConnectPage(ctx, a)
		refused("the connect page", err)
		_, err = w.BeginConsent(ctx, a)
		refused("a consent", err)
		_, err = w.FinishConsent(ctx, broker.Callback{State: a, Code: secret.New(b), Cookie: func(string) secret.String { return secret.New(c) }})
		refused("a callback", err)
		_, err = w.ConfirmConsent(ctx, a, secret.New(b), true)
		refused("a confirmation", err)
		_, err = w.ConsentResult(ctx, a, secret.New(b))
		refused("a result", err)
		_, err = w.AccessToken(ctx, svc, broker.TokenRequest{ID: a, Site: b, Purpose: c})
		refused("a draw", err)
		if _, _, err = w.Grants(ctx, op, broker.GrantFilter{PageToken: a}); err != nil {
			refused("a list", err)
		}
	})
}
