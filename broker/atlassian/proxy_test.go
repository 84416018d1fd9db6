package atlassian

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/holdfast-io/holdfast/broker/family"
)

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
