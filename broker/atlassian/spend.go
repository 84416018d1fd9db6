package atlassian

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
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

// errHeader ends an answer whose headers are longer than any provider's.
var errHeader = errors.New("the headers of the answer are too long")

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
	req := (&http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":    {contentType},
			"Accept":          {"application/json"},
			"Accept-Encoding": {"identity"},
			"User-Agent":      {"holdfast"},
		},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Close: true,
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

// roundTrip sends req over conn, which carries nothing else, and reads the
// answer. It is alone with the connection: a Transport of net/http would bring
// two goroutines, and rules of its own for when to send again.
func roundTrip(conn *spendConn, req *http.Request) reply {
	ctx := req.Context()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	unsent := req.Write(conn)
	if unsent != nil {
		if written, refused := conn.end(); !written {
			return reply{refused: refused, failure: ended(ctx, unsent)}
		}
		// An answer may have come nevertheless: one that did not wait for all of the request.
	}
	resp, err := readHead(conn, req)
	if err != nil {
		written, refused := conn.end()
		return reply{written: written, refused: refused, failure: ended(ctx, cmp.Or(unsent, err))}
	}
	defer func() {
		_ = conn.Close() // first: else closing the body would wait for the rest of it
		_ = resp.Body.Close()
	}()
	crashpoint.At(crashpoint.SpendHeaders)
	r := reply{written: true, status: resp.StatusCode, header: resp.Header}
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		r.failure = ended(ctx, err)
	case len(r.body) > maxBody:
		r.failure = "oversize"
	}
	return r
}

// readHead reads the status line and the headers of the answer, of at most
// maxHeader bytes with all that announces it. What follows is read from its body.
func readHead(conn net.Conn, req *http.Request) (*http.Response, error) {
	head := &io.LimitedReader{R: conn, N: maxHeader}
	r := bufio.NewReader(head)
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil && head.N == 0 {
			return nil, errHeader
		}
		if err != nil {
			return nil, err //nolint:wrapcheck // failureWord finds words for it
		}
		if resp.StatusCode >= http.StatusOK || resp.StatusCode == http.StatusSwitchingProtocols {
			head.N = math.MaxInt64
			return resp, nil
		}
	}
}

// ended is the word for what ended a round trip, which the end of ctx does by
// taking the connection away.
func ended(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return failureWord(err)
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
