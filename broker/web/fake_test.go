package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// The real one serves these pages.
var _ Broker = (*broker.Broker)(nil)

// fakeBroker behaves like the broker towards the pages: links make consents,
// state and cookie bind them, and a code is exchanged once.
type fakeBroker struct {
	mu        sync.Mutex
	provider  string
	consents  map[string]*fakeConsent // by link
	begun     int
	exchanged int
	asked     int
	fail      map[string]error // by method, until removed
	panics    bool
}

type fakeConsent struct {
	view          broker.ConnectView
	outcome       broker.ConsentOutcome
	state         string
	cookie        string
	afterExchange storage.ConsentStatus
}

const testLink = "v1.eyJsaW5rIjoi.c2lnbmF0dXJl"

var testNow = time.Date(2026, 11, 3, 14, 0, 0, 0, time.UTC)

func newFakeBroker() *fakeBroker {
	addr := storage.Address{Tenant: "acme", Subject: "automation", Product: "jira", Name: storage.DefaultName}
	c := &fakeConsent{
		view: broker.ConnectView{
			ConsentID: "cns_7q2m", Product: "jira", ProductName: "Jira", Tenant: addr.Tenant, Subject: addr.Subject, Name: addr.Name,
			App: "jira-app", ProviderName: "Atlassian", Scopes: []string{"read:jira-work", "write:jira-work", "offline_access"},
			ExpiresAt: testNow.Add(30 * time.Minute), Status: storage.ConsentPending, HasSites: true,
		},
		outcome: broker.ConsentOutcome{ConsentID: "cns_7q2m", Address: addr, ProductName: "Jira"},
		state:   "", cookie: "", afterExchange: storage.ConsentDone,
	}
	return &fakeBroker{consents: map[string]*fakeConsent{testLink: c}, fail: make(map[string]error)}
}

func (f *fakeBroker) enter(method string) error {
	if f.panics {
		panic("a panic with canary-panic in it")
	}
	f.asked++
	return f.fail[method]
}

func (f *fakeBroker) ConnectPage(_ context.Context, link string) (*broker.ConnectView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter("ConnectPage"); err != nil {
		return nil, err
	}
	c, ok := f.consents[link]
	if !ok {
		return nil, &broker.Error{Reason: broker.ReasonInvalidRequest, Message: "the link's signature does not fit"}
	}
	v := c.view
	return &v, nil
}

func (f *fakeBroker) BeginConsent(_ context.Context, link string) (*broker.ConsentStart, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter("BeginConsent"); err != nil {
		return nil, err
	}
	c, ok := f.consents[link]
	if !ok {
		return nil, &broker.Error{Reason: broker.ReasonInvalidRequest, Message: "the link's signature does not fit"}
	}
	if c.view.Status != storage.ConsentPending && c.view.Status != storage.ConsentAtProvider {
		return nil, &broker.Error{Reason: broker.ReasonInvalidRequest, Message: "this link was used already"}
	}
	f.begun++
	c.state, c.cookie = fmt.Sprintf("canary-state-%d", f.begun), fmt.Sprintf("canary-cookie-%d", f.begun)
	c.setStatus(storage.ConsentAtProvider)
	return &broker.ConsentStart{
		ConsentID: c.view.ConsentID, RedirectURL: f.provider + "/authorize?state=" + c.state,
		Cookie: secret.New(c.cookie), ExpiresAt: testNow.Add(15 * time.Minute),
	}, nil
}

func (c *fakeConsent) setStatus(s storage.ConsentStatus) { c.view.Status, c.outcome.Status = s, s }

func (f *fakeBroker) FinishConsent(_ context.Context, cb broker.Callback) (*broker.ConsentOutcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter("FinishConsent"); err != nil {
		return nil, err
	}
	for _, c := range f.consents {
		if c.state == "" || c.state != cb.State {
			continue
		}
		if !cb.Cookie(c.view.ConsentID).Equal(secret.New(c.cookie)) {
			return nil, &broker.Error{Reason: broker.ReasonCallerUnauthenticated, Message: "foreign browser"}
		}
		if c.outcome.Status == storage.ConsentAtProvider {
			if cb.Error != "" {
				c.setStatus(storage.ConsentDenied)
			} else {
				f.exchanged++
				c.setStatus(c.afterExchange)
			}
		}
		o := c.outcome
		return &o, nil
	}
	return nil, &broker.Error{Reason: broker.ReasonGrantNotFound, Message: "no consent has this state"}
}

func (f *fakeBroker) bound(id string, cookie secret.String) (*fakeConsent, error) {
	for _, c := range f.consents {
		if c.view.ConsentID == id {
			if !cookie.Equal(secret.New(c.cookie)) {
				return nil, &broker.Error{Reason: broker.ReasonCallerUnauthenticated, Message: "foreign browser"}
			}
			return c, nil
		}
	}
	return nil, &broker.Error{Reason: broker.ReasonGrantNotFound, Message: "no such consent"}
}

func (f *fakeBroker) ConfirmConsent(_ context.Context, id string, cookie secret.String, accept bool) (*broker.ConsentOutcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter("ConfirmConsent"); err != nil {
		return nil, err
	}
	c, err := f.bound(id, cookie)
	if err != nil {
		return nil, err
	}
	switch {
	case c.outcome.Status != storage.ConsentConfirm: // decided already
	case accept:
		c.setStatus(storage.ConsentDone)
	default:
		c.setStatus(storage.ConsentDiscarded)
	}
	o := c.outcome
	return &o, nil
}

func (f *fakeBroker) ConsentResult(_ context.Context, id string, cookie secret.String) (*broker.ConsentOutcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enter("ConsentResult"); err != nil {
		return nil, err
	}
	c, err := f.bound(id, cookie)
	if err != nil {
		return nil, err
	}
	o := c.outcome
	return &o, nil
}

// rig is the pages on a TLS listener, a provider that sends the browser
// straight back, and the log.
type rig struct {
	t      *testing.T
	broker *fakeBroker
	base   string
	server *httptest.Server
	log    *lockedBuffer
	// answer is the query that the provider's redirect adds to the state.
	answer string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, broker: newFakeBroker(), log: &lockedBuffer{}, answer: "code=canary-code"}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, r.base+"/oauth/callback?"+r.answer+"&state="+q.URL.Query().Get("state"), http.StatusFound)
	}))
	t.Cleanup(provider.Close)
	r.broker.provider = provider.URL
	r.server = httptest.NewUnstartedServer(nil)
	r.base = "https://" + r.server.Listener.Addr().String()
	public, err := url.Parse(r.base)
	if err != nil {
		t.Fatal(err)
	}
	r.server.Config.Handler = New(Config{
		Broker: r.broker, PublicURL: public, ProviderOrigin: provider.URL,
		Log: slog.New(slog.NewJSONHandler(r.log, nil)), Now: func() time.Time { return testNow },
	})
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	return r
}

// browser is a client with cookies of its own.
type browser struct {
	*rig
	client *http.Client
}

func (r *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &browser{rig: r, client: &http.Client{Transport: r.server.Client().Transport, Jar: jar}}
}

func (b *browser) do(method, path, body string, headers ...string) *reply {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return readReply(b.t, res)
}

func (b *browser) get(path string) *reply { b.t.Helper(); return b.do(http.MethodGet, path, "") }

// stay makes the browser follow no redirects.
func (b *browser) stay() *browser {
	c := *b.client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{rig: b.rig, client: &c}
}

// consent walks from the connect page through the provider to the result.
func (b *browser) consent() *reply {
	b.t.Helper()
	return b.do(http.MethodPost, "/connect/"+testLink, "")
}

// reply is an answer and what its page means to a reader.
type reply struct {
	*http.Response
	raw  string
	text string
	doc  *html.Node
}

func readReply(t *testing.T, res *http.Response) *reply {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return &reply{Response: res, raw: b.String(), text: textOf(doc), doc: doc}
}

// all returns the elements with the tag, in order.
func (r *reply) all(tag string) []*html.Node {
	var out []*html.Node
	for n := range r.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == tag {
			out = append(out, n)
		}
	}
	return out
}

func (r *reply) heading(t *testing.T) string {
	t.Helper()
	h := r.all("h1")
	if len(h) != 1 {
		t.Fatalf("the page has %d h1 headings, want one: %s", len(h), r.raw)
	}
	return textOf(h[0])
}

func (r *reply) want(t *testing.T, code int, heading string, texts ...string) {
	t.Helper()
	if r.StatusCode != code || r.heading(t) != heading {
		t.Fatalf("got %d %q, want %d %q", r.StatusCode, r.heading(t), code, heading)
	}
	for _, s := range texts {
		if !strings.Contains(r.text, s) {
			t.Errorf("the page %q does not say %q; it says: %s", heading, s, r.text)
		}
	}
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

var errPlain = errors.New("some cause")
