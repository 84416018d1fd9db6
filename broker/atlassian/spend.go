package atlassian

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
)

const (
	// maxBody of a token answer: two tokens of 64 KiB with scope and JSON
	// around them, eight times over.
	maxBody = 1 << 20
	// maxHeader of any answer.
	maxHeader = 64 << 10
)

// reply is what became of one token request.
type reply struct {
	// written is false only if provably no byte of the request left.
	written bool
	// refused: the guard forbade the request; nothing was written.
	refused bool
	// failure is the word for what went wrong on the way; empty: the whole
	// answer arrived. With a failure there may be a status and a part of a body.
	failure string
	status  int // 0: no answer
	header  http.Header
	body    []byte
}

// post sends body to the token endpoint at most once, over a connection of its
// own, and returns within the Provider's timeout.
func (p *Provider) post(ctx context.Context, contentType string, body []byte, guard func() error) reply {
	ctx, cancel := patient(ctx, p.timeout)
	defer cancel()
	target, err := url.Parse(p.profile.TokenURL)
	if err != nil {
		return reply{failure: "broken"} // New has parsed it before
	}
	conn, err := p.dialer.forSpend(ctx, target, guard)
	if err != nil {
		return reply{failure: lasted(ctx, failureWord(err))}
	}
	defer func() { _ = conn.Close() }()
	// http.NewRequest would set GetBody for a bytes.Reader, and net/http may
	// send a request with GetBody again.
	req := (&http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":    {contentType},
			"Accept":          {"application/json"},
			"Accept-Encoding": {"identity"},
			"User-Agent":      {"holdfast"},
		},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}).WithContext(ctx)
	sent := p.now()
	r := roundTrip(conn, req)
	r.failure = lasted(ctx, r.failure)
	p.noteDate(sent, r.header)
	return r
}

// forSpend dials a connection that carries one request under guard.
func (d dialer) forSpend(ctx context.Context, target *url.URL, guard func() error) (*spendConn, error) {
	raw, err := d.raw(ctx, hostPort(target))
	if err != nil {
		return nil, err
	}
	m := &meter{Conn: raw}
	c := &spendConn{Conn: m, meter: m, guard: guard}
	if target.Scheme == "https" {
		if c.Conn, err = d.tls(ctx, m, target.Hostname()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// roundTrip sends req over conn and reads the answer. The transport lives for
// this request alone and can get no second connection.
func roundTrip(conn *spendConn, req *http.Request) reply {
	var once sync.Once
	dial := func(context.Context, string, string) (net.Conn, error) {
		var c net.Conn
		once.Do(func() { c = conn })
		if c == nil {
			return nil, net.ErrClosed
		}
		return c, nil
	}
	t := &http.Transport{
		DialContext: dial, DialTLSContext: dial,
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		written, refused := conn.end()
		return reply{written: written, refused: refused, failure: failureWord(err)}
	}
	defer resp.Body.Close()
	crashpoint.At(crashpoint.SpendHeaders)
	r := reply{written: true, status: resp.StatusCode, header: resp.Header}
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		r.failure = failureWord(err)
	case len(r.body) > maxBody:
		r.failure = "oversize"
	}
	return r
}

// failureWord names what ended a connection, in words of our own: a text of
// net/http may quote the provider.
func failureWord(err error) string {
	var dns *net.DNSError
	var stage *stageError
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &stage) && stage.stage != "dial":
		return stage.stage
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection_refused" // "refused" alone is what the provider does with tokens
	case errors.As(err, &stage):
		return stage.stage
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	}
	return "broken"
}

func httpWord(status int) string { return "http_" + strconv.Itoa(status) }
