package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Target is the server under attack.
type Target struct {
	Addr string
	// TLS with the certificate of a caller gone bad. Connections without one
	// use it without.
	TLS *tls.Config
	// Method whose requests are sent, e.g. /holdfast.v1.TokenService/GetAccessToken,
	// and a valid request of it.
	Method  string
	Request []byte
	// Batch and BatchRequest are those of the costliest valid call.
	Batch        string
	BatchRequest []byte
}

func (t Target) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", t.Addr)
}

// raw is an HTTP/2 connection whose client keeps no rule that it does not want to.
type raw struct {
	net.Conn
	*http2.Framer
	headers []byte
}

// connect opens a connection with the caller's certificate. window is what the
// server may send on a stream before it is told that somebody reads.
func (t Target) connect(ctx context.Context, method string, window uint32) (*raw, error) {
	plain, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	config := t.TLS.Clone()
	config.NextProtos = []string{"h2"}
	conn := tls.Client(plain, config)
	hctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(hctx); err != nil {
		_ = plain.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	r := &raw{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	r.headers = r.block(method)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return r, err
	}
	return r, r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
}

// block encodes the headers of a call, with more fields if any.
func (*raw) block(method string, more ...hpack.HeaderField) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: method},
		{Name: ":authority", Value: "x"}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		_ = enc.WriteField(f) // to memory
	}
	return b.Bytes()
}

// begin opens a stream.
func (r *raw) begin(stream uint32) error {
	return r.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: r.headers, EndHeaders: true})
}

// message is what goes before size bytes of a request.
func message(size int) []byte {
	return []byte{0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
}

// data sends b in frames of the greatest size that needs no leave.
func (r *raw) data(stream uint32, b []byte, end bool) error {
	const largest = 16 << 10
	for len(b) > largest {
		if err := r.WriteData(stream, false, b[:largest]); err != nil {
			return err
		}
		b = b[largest:]
	}
	return r.WriteData(stream, end, b)
}

// drain reads what comes until the connection ends, and answers nothing.
func (r *raw) drain() {
	buf := make([]byte, 32<<10)
	for {
		if _, err := r.Conn.Read(buf); err != nil {
			return
		}
	}
}
