package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
)

// listeners of a node, made before anything else.
type listeners struct{ grpc, http, metrics net.Listener }

func (n *Node) listen(ctx context.Context) error {
	c := n.o.Config
	for _, l := range []struct {
		name, key, addr string
		into            *net.Listener
	}{
		{"gRPC", "grpc.listen", c.GRPC.Listen, &n.listens.grpc},
		{"the connect page", "http.listen", c.HTTP.Listen, &n.listens.http},
		{"metrics", "metrics.listen", c.Metrics.Listen, &n.listens.metrics},
	} {
		lis, err := Listen(ctx, l.name, l.key, l.addr)
		if err != nil {
			return err
		}
		*l.into = lis
		n.stack.Push(l.name+" listener", smallGrace, func(context.Context) error {
			// Its server has closed it by now, unless the start failed half-way.
			if err := lis.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return plainOnLoopbackOnly(c.PublicURL, n.listens.http.Addr())
}

// Listen opens a TCP listener. what is said to people; key is the key of the
// configuration, or the flag, that sets addr. An error is a *ListenError.
func Listen(ctx context.Context, what, key, addr string) (net.Listener, error) {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &ListenError{Key: key, Addr: addr, what: what, cause: err}
	}
	return lis, nil
}

// plainOnLoopbackOnly is the last line against a connect page in the clear on
// a network: the configuration of serve is checked for https long before.
func plainOnLoopbackOnly(public string, at net.Addr) error {
	u, err := url.Parse(public)
	if err != nil {
		return fmt.Errorf("public URL: %w", err)
	}
	if tcp, ok := at.(*net.TCPAddr); u.Scheme != "https" && (!ok || !tcp.IP.IsLoopback()) {
		return fmt.Errorf("public URL %s without https: allowed on loopback only, not on %s", public, at)
	}
	return nil
}

// ListenError is a listener that could not be opened.
type ListenError struct {
	// Key of the configuration, e.g. "grpc.listen", or flag, and its value.
	Key, Addr string
	what      string
	cause     error
}

func (e *ListenError) Error() string {
	if e.Taken() {
		return fmt.Sprintf("listening for %s: %s is taken by another program, perhaps another holdfast; end that one or choose another %s", e.what, e.Addr, e.Key)
	}
	return fmt.Sprintf("listening for %s on %s (%s): %v", e.what, e.Addr, e.Key, e.cause)
}

// Taken reports whether another program listens there.
func (e *ListenError) Taken() bool { return errors.Is(e.cause, syscall.EADDRINUSE) }

// Unwrap returns the system's error.
func (e *ListenError) Unwrap() error { return e.cause }
