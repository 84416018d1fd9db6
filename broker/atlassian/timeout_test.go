package atlassian

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
)

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
		{"request half read", func(c net.Conn) { _, _ = c.Read(make([]byte, 10)); <-time.After(time.Hour) }, family.InDoubt, "timeout"},
		{"no answer", func(c net.Conn) { readRequest(c); untilClosed(c) }, family.InDoubt, "timeout"},
		{"body stalls", func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, half); untilClosed(c) }, family.InDoubt, "timeout"},
		{"body drips", func(c net.Conn) {
			readRequest(c)
			for i := range goodPair {
				if _, err := io.WriteString(c, httpAnswer("200 OK", "", goodPair)[i:i+1]); err != nil {
					return
				}
				<-time.After(time.Second)
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
