package atlassian

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
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
		{"refused connection", "http://" + nobody, Options{}, nil, "refused"},
		{"refused connection, TLS", "https://" + nobody, Options{}, nil, "refused"},
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
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
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

// connectProxy is an HTTP proxy that only makes tunnels to target, whatever
// host is asked for.
func connectProxy(t *testing.T, target string, asked *atomic.Value) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("the proxy was asked to %s", r.Method)
			return
		}
		asked.Store(r.Host + " " + r.Header.Get("Proxy-Authorization"))
		up, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		down, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer down.Close()
		_, _ = io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n")
		done := make(chan struct{})
		go func() { _, _ = io.Copy(up, down); up.Close(); close(done) }()
		_, _ = io.Copy(down, up)
		down.Close()
		<-done
	}))
	t.Cleanup(s.Close)
	return s
}

func TestProxyCarriesSpendsAndReads(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"account_id":"a1"}`)
			return
		}
		_, _ = io.WriteString(w, goodPair)
	}))
	t.Cleanup(s.Close)
	var asked atomic.Value
	proxy, _ := url.Parse(connectProxy(t, s.Listener.Addr().String(), &asked).URL)
	proxy.User = url.UserPassword("u", canary)
	// The test server's certificate is for example.com too.
	p := provider(t, at(t, "atlassian", "https://example.com"), Options{RootCAs: pool(s), ProxyURL: proxy})
	guarded := false
	out := p.Refresh(t.Context(), creds, oldRefresh, func() error {
		guarded = true
		if asked.Load() == nil {
			t.Error("the guard was asked before the tunnel stood")
		}
		return nil
	})
	if out.Class != family.Settled || !guarded {
		t.Fatalf("got %s %q, guarded %t", out.Class, out.Code, guarded)
	}
	if got := asked.Load(); got != "example.com:443 Basic dTpjYW5hcnktN2YzYQ==" {
		t.Errorf("the proxy was asked %q", got)
	}
	if a, err := p.Account(t.Context(), oldRefresh); err != nil || a.ID != "a1" {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestEnvironmentProxyIsNotUsed(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
	t.Setenv("https_proxy", "http://proxy.invalid:3128")
	var addrs []string
	p := provider(t, at(t, "atlassian", "https://auth.invalid"), Options{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		addrs = append(addrs, addr)
		return nil, errors.New("no network")
	}})
	p.Refresh(t.Context(), creds, oldRefresh, nil)
	_, _ = p.Resources(t.Context(), oldRefresh)
	for _, a := range addrs {
		if a != "auth.invalid:443" {
			t.Errorf("dialled %s", a)
		}
	}
	if len(addrs) != 2 {
		t.Errorf("dialled %v, want two", addrs)
	}
}

// piped connects the Provider to script over a pipe, inside a synctest bubble.
func piped(t *testing.T, script func(net.Conn)) *Provider {
	p := at(t, "atlassian", "http://127.0.0.1")
	var scripts sync.WaitGroup
	t.Cleanup(scripts.Wait)
	return provider(t, p, Options{HTTPTimeout: 20 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		scripts.Go(func() { defer there.Close(); script(there) })
		return here, nil
	}})
}

func readRequest(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)) }

func untilClosed(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestTimeoutsBoundTheWholeSpend(t *testing.T) {
	half := httpAnswer("200 OK", "", goodPair)[:150]
	cases := []struct {
		name   string
		script func(net.Conn)
		class  family.Class
		code   string
	}{
		{"request half read", func(c net.Conn) { _, _ = c.Read(make([]byte, 10)); time.Sleep(time.Hour) }, family.InDoubt, "timeout"},
		{"no answer", func(c net.Conn) { readRequest(c); untilClosed(c) }, family.InDoubt, "timeout"},
		{"body stalls", func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, half); untilClosed(c) }, family.InDoubt, "timeout"},
		{"body drips", func(c net.Conn) {
			readRequest(c)
			for i := range goodPair {
				if _, err := io.WriteString(c, httpAnswer("200 OK", "", goodPair)[i:i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, family.InDoubt, "timeout"},
		{"whole pair, then the end never comes", func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+goodPair)
			untilClosed(c)
		}, family.Settled, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := piped(t, tc.script)
				start := time.Now()
				out := p.Refresh(t.Context(), creds, oldRefresh, nil)
				if out.Class != tc.class || out.Code != tc.code {
					t.Errorf("got %s %q, want %s %q", out.Class, out.Code, tc.class, tc.code)
				}
				if took := time.Since(start); took != 20*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestTimeoutBeforeTheRequestIsNotSpent(t *testing.T) {
	block := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	silent := func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go untilClosed(there)
		return here, nil
	}
	cases := []struct {
		name, base string
		options    Options
	}{
		{"dial", "http://127.0.0.1", Options{Dial: block}},
		{"handshake", "https://host.invalid", Options{Dial: silent}},
		{"CONNECT", "https://host.invalid", Options{Dial: silent, ProxyURL: &url.URL{Scheme: "http", Host: "proxy.invalid"}}},
		{"handshake with the proxy", "https://host.invalid", Options{Dial: silent, ProxyURL: &url.URL{Scheme: "https", Host: "proxy.invalid"}}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := provider(t, at(t, "atlassian", tc.base), tc.options)
				start := time.Now()
				out := p.Refresh(t.Context(), creds, oldRefresh, nil)
				if out.Class != family.NotSpent || out.Code != "timeout" || time.Since(start) != DefaultHTTPTimeout {
					t.Errorf("got %s %q after %s", out.Class, out.Code, time.Since(start))
				}
			})
		})
	}
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
