package atlassian

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/holdfast-io/holdfast/broker/family"
)

// TestNothingWrittenIsNotSpent drives every failure before the first byte of
// the request. Handshake and CONNECT bytes are no bytes of the request.
func TestNothingWrittenIsNotSpent(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	free.Close()
	plain := newWireServer(t, say(httpAnswer("200 OK", "", goodPair)))
	var served atomic.Int64
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	quiet(secure)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	noProxy := newWireServer(t, say("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
	chatty := newWireServer(t, say("HTTP/1.1 200 OK\r\n\r\nHELLO"))
	dialFails := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	cases := []struct {
		name, base string
		options    Options
		ctx        context.Context
		code       string
	}{
		{"refused connection", "http://" + nobody, Options{}, nil, "connection_refused"},
		{"refused connection, TLS", "https://" + nobody, Options{}, nil, "connection_refused"},
		{"no such host", "https://no-such-host.invalid", Options{Dial: dialFails(&net.OpError{Op: "dial", Err: &net.DNSError{Name: "x", IsNotFound: true}})}, nil, "dns"},
		{"no route", "https://host.invalid", Options{Dial: dialFails(errors.New("no route " + canary))}, nil, "dial"},
		{"unknown authority", secure.URL, Options{}, nil, "tls"},
		{"no TLS there", strings.Replace(plain.url(), "http:", "https:", 1), Options{}, nil, "tls"},
		{"proxy refuses connection", secure.URL, Options{ProxyURL: &url.URL{Scheme: "http", Host: nobody}}, nil, "proxy"},
		{"proxy says 407", secure.URL, Options{ProxyURL: &url.URL{Scheme: "http", Host: noProxy.listener.Addr().String()}}, nil, "proxy"},
		{"proxy talks into the tunnel", secure.URL, Options{ProxyURL: &url.URL{Scheme: "http", Host: chatty.listener.Addr().String()}}, nil, "proxy"},
		{"canceled before", plain.url(), Options{}, canceled, "canceled"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			ctx := tc.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			p := provider(t, at(t, "atlassian", tc.base), tc.options)
			out := p.Refresh(ctx, creds, oldRefresh, func() error { t.Error("the guard was asked"); return nil })
			if out.Class != family.NotSpent || out.Code != tc.code {
				t.Errorf("got %s %q, want not_spent %q", out.Class, out.Code, tc.code)
			}
			assertSilent(t, out)
		})
	}
	if served.Load() != 0 || plain.posts.Load() != 0 {
		t.Errorf("requests arrived: %d over TLS, %d in the clear", served.Load(), plain.posts.Load())
	}
}

func TestTLSWithOwnAuthorityAndGuardAfterHandshake(t *testing.T) {
	var posts, handshakes atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("protocol %s", r.Proto)
		}
		posts.Add(1)
		_, _ = io.WriteString(w, goodPair)
	}))
	s.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		handshakes.Add(1)
		return nil, nil
	}}
	s.EnableHTTP2 = true
	quiet(s)
	s.StartTLS()
	t.Cleanup(s.Close)
	p := provider(t, at(t, "atlassian", s.URL), Options{RootCAs: pool(s)})
	guard := func() error {
		if handshakes.Load() != 1 || posts.Load() != 0 {
			t.Errorf("guard asked after %d handshakes and %d requests", handshakes.Load(), posts.Load())
		}
		return nil
	}
	if out := p.Refresh(t.Context(), creds, oldRefresh, guard); out.Class != family.Settled {
		t.Fatalf("got %s %q", out.Class, out.Code)
	}
	forbid := func() error { return errors.New("no") }
	if out := p.Refresh(t.Context(), creds, oldRefresh, forbid); out.Class != family.NotSpent || out.Code != "guard" {
		t.Fatalf("got %s %q", out.Class, out.Code)
	}
	if posts.Load() != 1 {
		t.Fatalf("%d requests arrived, want 1", posts.Load())
	}
}

func pool(s *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

// A caller that gives up while the guard still thinks must not be told "not
// spent" about a request that goes out a moment later.
func TestNoByteLeavesAfterTheVerdict(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	m := &meter{Conn: here}
	c := &spendConn{Conn: m, meter: m}
	if written, _ := c.end(); written {
		t.Fatal("written before any Write")
	}
	if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) || m.sent.Load() != 0 {
		t.Fatalf("wrote %d: %v", n, err)
	}
}

func TestAWriteUnderWayCountsAsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		m := &meter{Conn: here}
		c := &spendConn{Conn: m, meter: m}
		go func() { _, _ = c.Write([]byte("x")) }()
		synctest.Wait() // the Write blocks: nobody reads
		if written, _ := c.end(); !written {
			t.Error("a blocked Write was taken for none")
		}
		there.Close()
		here.Close()
	})
}
