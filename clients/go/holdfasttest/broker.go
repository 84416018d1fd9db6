package holdfasttest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// DefaultLife of a token, as at Atlassian.
	DefaultLife = time.Hour
	// DefaultAPIBase of every grant. The host does not exist.
	DefaultAPIBase = "https://api.holdfasttest.invalid/ex/jira/cloud-1"
	// grace is how long a token stays good when a newer one has been made.
	grace = 10 * time.Minute
)

// Broker is a fake broker. Every grant whose address parses exists in it, until it is
// refused. A grant is named as for Client.TokenSource, always in the same way. It is safe
// for concurrent use.
type Broker struct {
	holdfastv1.UnimplementedTokenServiceServer

	client *holdfast.Client
	now    func() time.Time

	mu      sync.Mutex        // guards all below
	changed chan struct{}     // closed, and made anew, when a grant changes
	grants  map[string]*grant // by name
	life    time.Duration
	away    bool
	calls   map[string]Calls
}

// Calls of one grant that the broker has answered or refused.
type Calls struct {
	// Tokens counts the calls for a token, Reports those that told of a rejected one, and
	// Watches the streams that were opened.
	Tokens, Reports, Watches int
}

type grant struct {
	name       string
	generation uint64
	dead       uint64    // the tokens up to this generation have expired early
	made       time.Time // of the present token
	life       time.Duration
	apiBase    string
	refused    *holdfast.Error
}

// New starts a broker with a client of it. Both end with the test.
func New(t testing.TB) *Broker {
	t.Helper()
	b := &Broker{
		now: time.Now, changed: make(chan struct{}), grants: map[string]*grant{}, life: DefaultLife, calls: map[string]Calls{},
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	holdfastv1.RegisterTokenServiceServer(server, b)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }() // ends with the test, below
	conn, err := grpc.NewClient("passthrough:///holdfasttest",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatalf("holdfasttest: %v", err)
	}
	b.client = holdfast.New(conn, 0)
	t.Cleanup(func() {
		for _, end := range []func() error{b.client.Close, conn.Close, func() error { server.Stop(); return <-served }} {
			if err := end(); err != nil {
				t.Errorf("holdfasttest: ending the broker: %v", err)
			}
		}
	})
	return b
}

// Client of this broker. The test need not close it.
func (b *Broker) Client() *holdfast.Client { return b.client }

// SetLife sets how long tokens that are made from now on live; at first DefaultLife.
func (b *Broker) SetLife(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life = d
}

// SetAPIBase sets what the broker names as the base URL of the product's API, e.g. the
// URL of an httptest.Server; at first DefaultAPIBase. "" is a grant of no site or several.
// A client learns of it with its next token.
func (b *Broker) SetAPIBase(name, url string) {
	b.change(name, func(g *grant) { g.apiBase = strings.TrimSuffix(url, "/") })
}

// Rotate makes a newer token. The one before stays good for 10 minutes.
func (b *Broker) Rotate(name string) { b.change(name, b.rotate) }

// Expire lets the API refuse the present token, although the client takes it for good.
// The client finds out by a 401, and gets a newer one.
func (b *Broker) Expire(name string) { b.change(name, func(g *grant) { g.dead = g.generation }) }

// Refuse has all calls for the grant fail with e: its reason, message, and details
// as far as they are set. nil: they succeed again, with a newer token.
func (b *Broker) Refuse(name string, e *holdfast.Error) {
	b.change(name, func(g *grant) {
		if g.refused != nil && e == nil {
			b.rotate(g)
		}
		g.refused = e
	})
}

// SetAway makes the broker unreachable for all calls and streams, or brings it back.
func (b *Broker) SetAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
	b.tell()
}

// Token is the present access token of the grant.
func (b *Broker) Token(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.grant(name)
	return g.token(g.generation)
}

// Calls of the grant so far.
func (b *Broker) Calls(name string) Calls {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[name]
}

// API is next behind a gateway that answers 401 to who has no good token of any grant.
func (b *Broker) API(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !b.good(token) {
			http.Error(w, `{"code":401,"message":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (b *Broker) good(token string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.grants {
		age := b.now().Sub(g.made)
		present := token == g.token(g.generation) && g.generation > g.dead && age < g.life
		previous := token == g.token(g.generation-1) && g.generation-1 > g.dead && age < grace
		if present || previous {
			return true
		}
	}
	return false
}

// ahead is how long before its end a token is renewed: 5 minutes of an hour.
func (g *grant) ahead() time.Duration { return g.life / 12 }

// token of a generation. It is no secret.
func (g *grant) token(generation uint64) string {
	return fmt.Sprintf("holdfasttest.%s.%d", g.name, generation)
}

// grant by name; made if it is not there. The caller holds mu.
func (b *Broker) grant(name string) *grant {
	g := b.grants[name]
	if g == nil {
		g = &grant{name: name, apiBase: DefaultAPIBase}
		b.rotate(g)
		b.grants[name] = g
	}
	return g
}

// rotate makes the next token. The caller holds mu.
func (b *Broker) rotate(g *grant) {
	g.generation++
	g.made, g.life = b.now(), b.life
}

func (b *Broker) change(name string, change func(*grant)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b.grant(name))
	b.tell()
}

// tell the streams that something changed. The caller holds mu.
func (b *Broker) tell() {
	close(b.changed)
	b.changed = make(chan struct{})
}
