package broker_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// browser goes through a consent as a browser does: the link, the provider,
// the callback. It returns where the provider's redirect led.
type browser struct {
	w      *world
	start  *broker.ConsentStart
	answer url.Values
}

// visit opens the link, continues to the provider and comes back, with extra
// parameters for the provider.
func (w *world) visit(link string, extra string) *browser {
	w.t.Helper()
	text := link[strings.LastIndex(link, "/")+1:]
	if _, err := w.ConnectPage(context.Background(), text); err != nil {
		w.t.Fatalf("connect page: %v", err)
	}
	start, err := w.BeginConsent(context.Background(), text)
	if err != nil {
		w.t.Fatalf("continuing: %v", err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(start.RedirectURL + extra)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	defer client.CloseIdleConnections()
	to, err := resp.Location()
	if err != nil {
		w.t.Fatalf("the provider answered %s without a redirect", resp.Status)
	}
	return &browser{w: w, start: start, answer: to.Query()}
}

func (b *browser) callback() broker.Callback {
	return broker.Callback{State: b.answer.Get("state"), Code: secret.New(b.answer.Get("code")), Error: b.answer.Get("error"),
		Cookie: func(id string) secret.String {
			if id == b.start.ConsentID {
				return b.start.Cookie
			}
			return secret.String{}
		}}
}

func (b *browser) finish() *broker.ConsentOutcome {
	b.w.t.Helper()
	o, err := b.w.FinishConsent(context.Background(), b.callback())
	if err != nil {
		b.w.t.Fatalf("callback: %v", err)
	}
	return o
}

// consent makes a grant and fails the test if it is not DONE.
func (w *world) consent(a storage.Address) {
	w.t.Helper()
	l, err := w.StartConsent(context.Background(), op, broker.ConsentRequest{Address: a})
	if err != nil {
		w.t.Fatal(err)
	}
	if o := w.visit(l.URL, "").finish(); o.Status != storage.ConsentDone {
		w.t.Fatalf("consent of %s ended %s (%s)", a, o.Status, o.Detail)
	}
}
