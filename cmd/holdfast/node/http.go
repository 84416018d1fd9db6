package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-io/holdfast/broker/door"
	"github.com/holdfast-io/holdfast/broker/web"
)

// serveHTTP serves the connect page with the health answers, and /metrics on
// its own listener.
func (n *Node) serveHTTP(context.Context) error {
	c := n.o.Config
	authorize, err := url.Parse(c.Provider.Resolved.AuthorizeURL)
	if err != nil {
		return fmt.Errorf("authorize URL of the profile: %w", err)
	}
	pages := web.Config{
		Broker: n.broker, PublicURL: c.Public(), ProviderOrigin: authorize.Scheme + "://" + authorize.Host, Log: n.log,
	}
	if err := pages.Validate(); err != nil {
		return err
	}
	var tlsConfig *tls.Config
	if !c.HTTP.BehindProxy {
		if tlsConfig, err = n.webTLS(); err != nil {
			return err
		}
	}
	public := http.NewServeMux()
	n.readiness.mount(public, true)
	public.Handle("/", web.New(pages))
	if err := n.serve("HTTP server", n.listens.http, tlsConfig, public); err != nil {
		return err
	}

	private := http.NewServeMux()
	n.readiness.mount(private, false)
	private.Handle("GET /metrics", promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelWarn)}))
	return n.serve("metrics server", n.listens.metrics, nil, private)
}

// serve starts one HTTP server; without TLS it is plain.
func (n *Node) serve(name string, lis net.Listener, tlsConfig *tls.Config, handler http.Handler) error {
	idle := new(fresh)
	server := web.NewServer(handler, n.log)
	server.ConnState, server.TLSConfig = idle.track, tlsConfig
	// The callback waits for the provider; give its timeout room to be reported.
	server.WriteTimeout = max(server.WriteTimeout, 3*n.o.Config.Provider.HTTPTimeout+30*time.Second)
	// Strangers' broken handshakes are no news.
	server.ErrorLog = slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)
	// A page is a handful of small answers.
	server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 50}
	most := n.o.Config.Limits.HTTPConnections
	entrance, err := door.New(door.Limits{Strangers: most, Known: most})
	if err != nil {
		return fmt.Errorf("limits.http_connections: %w", err)
	}
	door.Guard(server)
	lis = entrance.Listen(lis)
	n.stack.Serve(name, serverGrace, func() error {
		var err error
		if tlsConfig != nil {
			err = server.ServeTLS(lis, "", "")
		} else {
			err = server.Serve(lis)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}, func(ctx context.Context) error {
		idle.close()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return server.Close() // who is still connected does not read its answer
		}
		return err
	})
	return nil
}
