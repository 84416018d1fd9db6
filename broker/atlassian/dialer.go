package atlassian

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// maxProxyAnswer bounds what a proxy may say before the tunnel stands, in bytes.
const maxProxyAnswer = 64 << 10

// dialer makes connections to the provider: directly, or through a tunnel.
type dialer struct {
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	proxy *url.URL
	roots *x509.CertPool
}

// stageError says at which step before the request a connection failed.
type stageError struct {
	stage string // "dial", "proxy", "tls"
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// raw returns a connection over which the host at addr can be spoken to.
func (d dialer) raw(ctx context.Context, addr string) (net.Conn, error) {
	if d.proxy == nil {
		conn, err := d.dial(ctx, "tcp", addr)
		if err != nil {
			return nil, &stageError{"dial", err}
		}
		return conn, nil
	}
	conn, err := d.tunnel(ctx, addr)
	if err != nil {
		return nil, &stageError{"proxy", err}
	}
	return conn, nil
}

// tls returns conn with a finished handshake for host, or closes it. Only
// HTTP/1.1 is offered: HTTP/2 would hide from us what was written.
func (d dialer) tls(ctx context.Context, conn net.Conn, host string) (*tls.Conn, error) {
	tc := tls.Client(conn, &tls.Config{
		ServerName: host, RootCAs: d.roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	})
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &stageError{"tls", err}
	}
	return tc, nil
}

func (d dialer) tunnel(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := d.dial(ctx, "tcp", hostPort(d.proxy))
	if err != nil {
		return nil, err
	}
	if d.proxy.Scheme == "https" {
		if conn, err = d.tls(ctx, conn, d.proxy.Hostname()); err != nil {
			return nil, err
		}
	}
	// A deadline in the past is how a done context reaches a blocked read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = connect(conn, addr, d.proxy.User)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return conn, nil
}

// connect asks the proxy behind conn for a tunnel (RFC 9110 section 9.3.6).
func connect(conn net.Conn, addr string, user *url.Userinfo) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	answer := bufio.NewReader(io.LimitReader(conn, maxProxyAnswer))
	resp, err := http.ReadResponse(answer, req) //nolint:bodyclose // what follows is the tunnel, which stays open
	if err != nil {
		return errors.New("no HTTP answer to CONNECT") // the cause may quote what came
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT was answered with HTTP %d", resp.StatusCode)
	}
	if answer.Buffered() > 0 {
		return errors.New("bytes in the tunnel before the first request")
	}
	return nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// readClient serves requests that may safely be sent again.
func readClient(d dialer, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		// A redirect would carry the bearer token to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: nil, // the dialer tunnels
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return d.raw(ctx, addr)
			},
			DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				conn, err := d.raw(ctx, addr)
				if err != nil {
					return nil, err
				}
				host, _, _ := net.SplitHostPort(addr)
				return d.tls(ctx, conn, host)
			},
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        90 * time.Second,
		},
	}
}
