package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/secret"
)

// Broker is what the pages need of the broker. Its methods fail with
// *broker.Error; the words for people are chosen here by its reason.
type Broker interface {
	// ConnectPage says what a link would grant. It writes nothing.
	ConnectPage(ctx context.Context, link string) (*broker.ConnectView, error)
	// BeginConsent is called when the person continues.
	BeginConsent(ctx context.Context, link string) (*broker.ConsentStart, error)
	// FinishConsent handles the provider's redirect. It exchanges a code at
	// most once, however often it is called, and must not give up an exchange
	// because ctx ends: people close and reload tabs.
	FinishConsent(ctx context.Context, cb broker.Callback) (*broker.ConsentOutcome, error)
	// ConfirmConsent accepts or discards what a NEEDS_CONFIRMATION consent would replace.
	ConfirmConsent(ctx context.Context, consentID string, cookie secret.String, accept bool) (*broker.ConsentOutcome, error)
	// ConsentResult says where a consent stands to the browser that holds its
	// cookie, and CALLER_UNAUTHENTICATED to any other. It writes nothing.
	ConsentResult(ctx context.Context, consentID string, cookie secret.String) (*broker.ConsentOutcome, error)
}

// Config of the pages. Fields are required unless their comment says otherwise.
type Config struct {
	Broker Broker
	// PublicURL is how browsers reach this handler: scheme and host, no path.
	// With https, cookies get the __Host- prefix and answers HSTS; plain http
	// is for development on loopback.
	PublicURL *url.URL
	// ProviderOrigin is the origin of the provider's authorize endpoint, such
	// as https://auth.atlassian.com. A redirect to anywhere else is refused.
	ProviderOrigin string
	// Log; nil means slog.Default().
	Log *slog.Logger
	// Now is the wall clock; nil means time.Now. It only sets cookie lifetimes.
	Now func() time.Time
}

// Validate reports all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Broker == nil {
		errs = append(errs, errors.New("web: Broker is missing"))
	}
	if err := originOnly(c.PublicURL); err != nil {
		errs = append(errs, fmt.Errorf("web: public URL: %w", err))
	}
	u, err := url.Parse(c.ProviderOrigin)
	if err == nil {
		err = originOnly(u)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("web: provider origin: %w", err))
	}
	return errors.Join(errs...)
}

// originOnly demands scheme and host and nothing else: the cookie's path is /,
// and an origin is pasted into a header.
func originOnly(u *url.URL) error {
	if u == nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("want https://HOST or http://HOST")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return errors.New("want scheme and host only, without user, path, query or fragment")
	}
	return nil
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// site is the handler's fixed state; it has nothing that changes after New.
type site struct {
	broker   Broker
	cookies  cookies
	provider *url.URL
	log      *slog.Logger
	pages    *pages
	assets   *assets
	https    bool
}

// New returns the handler of all pages. It panics if c does not validate: call
// Validate first where c comes from a user.
func New(c Config) http.Handler {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	provider, _ := url.Parse(c.ProviderOrigin) // validated above
	a := loadAssets()
	s := &site{
		broker: c.Broker, provider: provider, log: c.Log, assets: a, pages: loadPages(a),
		https:   c.PublicURL.Scheme == "https",
		cookies: cookies{secure: c.PublicURL.Scheme == "https", now: c.Now},
	}
	cop := http.NewCrossOriginProtection()
	// Behind a proxy the Host header need not be the public one.
	if err := cop.AddTrustedOrigin(originOf(c.PublicURL)); err != nil {
		panic(err)
	}
	cop.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, problemCrossOrigin, "")
	}))
	return s.outer(cop.Handler(s.routes()))
}

func (s *site) routes() *http.ServeMux {
	mux := http.NewServeMux()
	// Each path is registered without a method too, because the mux's own 405
	// is a line of plain text.
	add := func(path string, methods map[string]http.HandlerFunc) {
		allow := ""
		for _, m := range []string{http.MethodGet, http.MethodPost} {
			h, ok := methods[m]
			if !ok {
				continue
			}
			mux.HandleFunc(m+" "+path, h)
			if allow != "" {
				allow += ", "
			}
			allow += m
			if m == http.MethodGet {
				allow += ", " + http.MethodHead
			}
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			s.problem(w, r, problemMethod, "")
		})
	}
	type by = map[string]http.HandlerFunc
	add("/connect/{link}", by{http.MethodGet: s.connectPage, http.MethodPost: s.begin})
	add("/oauth/callback", by{http.MethodGet: s.callback})
	add("/consents/{id}", by{http.MethodGet: s.result})
	add("/consents/{id}/confirm", by{http.MethodPost: s.confirm})
	add("/problems/{kind}", by{http.MethodGet: s.problemPage})
	add("/static/{version}/{file}", by{http.MethodGet: s.static})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.problem(w, r, problemNotFound, "") })
	return mux
}
