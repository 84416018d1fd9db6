package holdfast

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-io/holdfast/internal/unreached"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ErrClosed is returned by every call on a Client, and on what was made from
// it, after Close.
var ErrClosed = errors.New("holdfast: the client is closed")

// DefaultTimeout bounds one call to the broker, the broker's own refresh
// included. It exceeds the 30 s that a refresh at the provider may take.
const DefaultTimeout = 40 * time.Second

// aliveAfter is how long a broker to which a call or a stream is open may say nothing
// before it is asked whether it is alive, and aliveWithin how long that may take: a stream may
// rightly be silent for an hour, and one whose other end is gone should not be. The
// broker takes a ping every 10 s.
const aliveAfter, aliveWithin = 20 * time.Second, 10 * time.Second

// reconnect is how often a broker that is gone is tried, and connectWithin how long one try
// may take. By default grpc-go lets 2 minutes pass between two: a broker that is back after
// a long while would be used that much later, with tokens that end meanwhile.
var reconnect = backoff.Config{BaseDelay: 500 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second}

const connectWithin = 10 * time.Second

// Client is a connection to a broker. It is safe for concurrent use; make one
// per process. The zero value is not usable.
type Client struct {
	tokens  holdfastv1.TokenServiceClient
	conn    *grpc.ClientConn // nil if the caller owns the connection
	way     unreached.Way    // zero if the caller owns the connection
	files   *tlsFiles        // nil without TLS, and if the caller owns the connection
	timeout time.Duration
	random  func() float64 // 0 to 1

	ctx    context.Context // ends with the client; parent of all background work
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed, and adding to tasks against Close
	closed bool
	tasks  sync.WaitGroup
}

type dialConfig struct {
	certFile, keyFile, caFile string
	tokenFile                 string
	plaintext                 bool
	timeout                   time.Duration
	grpc                      []grpc.DialOption
}

// DialOption changes how Dial connects.
type DialOption func(*dialConfig)

// WithTLSFiles sets the PEM files of this caller's certificate and key, and of
// the CA that signed the broker's certificate (empty: the system's). All are read
// again for every new connection, so that renewed ones are used without a restart.
func WithTLSFiles(cert, key, ca string) DialOption {
	return func(c *dialConfig) { c.certFile, c.keyFile, c.caFile = cert, key, ca }
}

// WithTokenFile sets the file of the bearer token that this caller shows instead
// of a certificate, e.g. a Kubernetes projected service-account token, and the PEM
// file of the CA that signed the broker's certificate (empty: the system's). The
// token is read again when its file changes, the CA for every new connection.
func WithTokenFile(token, ca string) DialOption {
	return func(c *dialConfig) { c.tokenFile, c.caFile = token, ca }
}

// WithPlaintext connects without TLS and without an identity, for tests and a
// development broker on the same machine. Dial refuses it for any target that
// is not a loopback address.
func WithPlaintext() DialOption { return func(c *dialConfig) { c.plaintext = true } }

// WithTimeout bounds one call to the broker; 0 means DefaultTimeout. A call
// that a TokenSource makes is bounded by this alone: a caller that gives up
// earlier does not cancel it for the others.
func WithTimeout(d time.Duration) DialOption { return func(c *dialConfig) { c.timeout = d } }

// WithGRPC adds options of grpc-go, e.g. OpenTelemetry's stats handler, which then
// sees each call to the broker as part of the trace of the caller that caused it.
func WithGRPC(opts ...grpc.DialOption) DialOption {
	return func(c *dialConfig) { c.grpc = append(c.grpc, opts...) }
}

// Dial returns a client of the broker at target, host:port or any target of
// grpc-go. It does not wait for a connection: that is made by the first call.
// It fails if the target is neither, if the files cannot be read or if no credentials
// were chosen.
func Dial(target string, opts ...DialOption) (*Client, error) {
	var c dialConfig
	for _, o := range opts {
		o(&c)
	}
	creds, err := c.credentials(target)
	if err != nil {
		return nil, fmt.Errorf("holdfast: %w", err)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectWithin}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveAfter, Timeout: aliveWithin}),
	}
	if c.tokenFile != "" {
		token, err := TokenFile(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("holdfast: %w", err)
		}
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	conn, err := newConn(target, append(options, c.grpc...))
	if err != nil {
		return nil, fmt.Errorf("holdfast: %w", err)
	}
	client := New(conn, c.timeout)
	client.conn = conn
	client.files, _ = creds.(*tlsFiles)
	client.way = unreached.Way{Target: target, Cert: c.certFile, CA: c.caFile, Plaintext: c.plaintext, Advice: advice}
	return client, nil
}

// New returns a client over a connection that the caller owns: Close leaves it
// open. timeout is as for WithTimeout.
func New(conn grpc.ClientConnInterface, timeout time.Duration) *Client {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	c := &Client{tokens: holdfastv1.NewTokenServiceClient(conn), timeout: timeout, random: rand.Float64}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *dialConfig) credentials(target string) (credentials.TransportCredentials, error) {
	switch {
	case c.plaintext && (c.certFile != "" || c.tokenFile != ""):
		return nil, errors.New("choose WithPlaintext or an identity, not both")
	case c.certFile != "" && c.tokenFile != "":
		return nil, errors.New("choose WithTLSFiles or WithTokenFile: the broker refuses a call that shows a certificate and a token")
	case c.plaintext && !loopback(target):
		return nil, fmt.Errorf("plaintext to %q: want the address and port of this machine, e.g. 127.0.0.1:7443; elsewhere tokens would cross the network in the clear: use WithTLSFiles", target)
	case c.plaintext:
		return insecure.NewCredentials(), nil
	case c.tokenFile == "" && (c.certFile == "" || c.keyFile == ""):
		return nil, errors.New("no identity: the broker demands a client certificate or a token; use WithTLSFiles or WithTokenFile")
	}
	return newTLSFiles(c.certFile, c.keyFile, c.caFile)
}

// loopback reports whether target is host:port on this machine. Names other
// than localhost do not count: they may resolve to anything.
func loopback(target string) bool {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close cancels all calls under way, waits until no goroutine of this client is
// left, and closes the connection. Later calls return ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	wasClosed := c.closed
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.tasks.Wait()
	if wasClosed || c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// start runs task on a goroutine that Close cancels and waits for. The task's
// context has the client's timeout and the values of caller's, e.g. its span, but no other
// tie to it: work that several callers wait for must not end with the first of them.
func (c *Client) start(caller context.Context, task func(context.Context)) error {
	return c.spawn(func() {
		ctx, cancel := context.WithTimeout(withValues{c.ctx, caller}, c.timeout)
		defer cancel()
		// What the caller means to send to others, such as a credential, is not for the broker.
		task(metadata.NewOutgoingContext(ctx, metadata.MD{}))
	})
}

// spawn runs task on a goroutine that Close waits for.
func (c *Client) spawn(task func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.tasks.Go(task)
	return nil
}

// withValues is a context that also has the values of another one.
type withValues struct {
	context.Context
	values context.Context
}

// Value implements context.Context. The context's own come first: its children find it
// by them.
func (w withValues) Value(key any) any {
	if v := w.Context.Value(key); v != nil {
		return v
	}
	return w.values.Value(key)
}

// spread lengthens a delay by up to half, by chance: those who were refused at the
// same moment must not all come back at the same one. It never shortens: a refusal
// names the least time.
func (c *Client) spread(d time.Duration) time.Duration {
	return d + time.Duration(c.random()*float64(d)/2)
}
