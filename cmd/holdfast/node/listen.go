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
		lis, err := new(net.ListenConfig).Listen(ctx, "tcp", l.addr)
		if err != nil {
			return &ListenError{Key: l.key, Addr: l.addr, what: l.name, cause: err}
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
	// Key of the configuration, e.g. "grpc.listen", and its value.
	Key, Addr string
	what      string
	cause     error
}

func (e *ListenError) Error() string {
	if errors.Is(e.cause, syscall.EADDRINUSE) {
		return fmt.Sprintf("listening for %s: %s is taken by another program, perhaps another holdfast; end that one or choose another %s", e.what, e.Addr, e.Key)
	}
	return fmt.Sprintf("listening for %s on %s (%s): %v", e.what, e.Addr, e.Key, e.cause)
}

// Unwrap returns the system's error.
func (e *ListenError) Unwrap() error { return e.cause }
