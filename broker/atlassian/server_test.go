package atlassian

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Canaries: whatever is sent or received as a secret has this text in it, and
// nothing that this package says may.
const canary = "canary-7f3a"

var (
	creds      = Credentials{ClientID: "client-1", Secret: secret.New(canary + "-client-secret")}
	oldRefresh = secret.New(canary + "-refresh-1")
	goodPair   = `{"access_token":"` + canary + `-access-2","refresh_token":"` + canary + `-refresh-2","expires_in":3600,"scope":"read:jira-work offline_access","token_type":"Bearer"}`
)

// wireServer is a TCP server whose script has each connection to itself, so
// that it can break it at any byte. It counts connections and requests.
type wireServer struct {
	listener           net.Listener
	connections, posts atomic.Int64
	mu                 sync.Mutex // guards last and open
	last               recorded
	open               []net.Conn
	served             sync.WaitGroup
}

type recorded struct {
	header http.Header
	body   string
}

func newWireServer(t *testing.T, script func(conn *net.TCPConn)) *wireServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wireServer{listener: l}
	s.served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			s.mu.Lock()
			s.open = append(s.open, conn)
			s.mu.Unlock()
			s.served.Go(func() { s.serve(conn.(*net.TCPConn), script) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *wireServer) serve(conn *net.TCPConn, script func(*net.TCPConn)) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		s.posts.Add(1)
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.last = recorded{req.Header, string(body)}
		s.mu.Unlock()
		// The connection stays open for a second request, which must not come.
		script(conn)
	}
}

func (s *wireServer) stop() {
	s.listener.Close()
	s.mu.Lock()
	for _, c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.served.Wait()
}

func (s *wireServer) request() recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *wireServer) url() string { return "http://" + s.listener.Addr().String() }

// at returns the profile with all its URLs pointing at base.
func at(t *testing.T, profile, base string) Profile {
	t.Helper()
	p, err := LoadProfile(profile)
	if err != nil {
		t.Fatal(err)
	}
	p.AuthorizeURL, p.TokenURL, p.AccountURL = base+"/authorize", base+"/oauth/token", base+"/me"
	p.RevokeURL = base + "/oauth/revoke"
	if p.ResourcesURL != "" {
		p.ResourcesURL = base + "/oauth/token/accessible-resources"
	}
	return p
}

func provider(t *testing.T, p Profile, o Options) *Provider {
	t.Helper()
	got, err := New(p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(got.Close)
	return got
}

// quiet keeps a test server's complaints about its clients out of the output.
func quiet(s *httptest.Server) { s.Config.ErrorLog = log.New(io.Discard, "", 0) }

// countingDial counts what is dialled, attempts that fail included.
type countingDial struct{ n atomic.Int64 }

func (c *countingDial) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.n.Add(1)
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}
