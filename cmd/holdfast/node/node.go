// Package node owns a running broker as a whole: it opens what a configuration
// names, joins the pieces, listens, and ends everything in the right order. It
// is wiring: it decides nothing about tokens. `serve` and `dev` differ only in
// the configuration that they give it.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/rpc"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/lifecycle"
)

// Grace periods of the parts. Servers finish the calls under way; the broker has
// its own patience, for attempts whose settlement is not stored yet.
const (
	serverGrace = 10 * time.Second
	smallGrace  = 5 * time.Second
)

// Options of a Node.
type Options struct {
	// Config is validated, or made by dev mode. Required.
	Config *config.Config
	// Version of the program, for GetStatus.
	Version string
	// Log is required.
	Log *slog.Logger
}

// Node is a running broker with its listeners.
type Node struct {
	o         Options
	log       *slog.Logger
	stack     *lifecycle.Stack
	broker    *broker.Broker
	metrics   *prometheus.Registry
	listens   listeners
	readiness *readiness
	// recheck has the server's standing streams looked at again; nil until it is made.
	recheck atomic.Pointer[func()]
}

// Start opens, joins and serves everything. After an error nothing is left
// open. After nil the caller must call Wait. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Node, error) {
	n := &Node{o: o, log: o.Log, stack: lifecycle.New(o.Log), metrics: prometheus.NewRegistry()}
	n.fitFiles(openFiles())
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// Listeners come first: a port that is taken is found before the store is touched.
	for _, step := range []func(context.Context) error{n.listen, n.openBroker, n.serveHTTP, n.serveRPC} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.stack.Stop())
		}
	}
	// Opening a store of a million grants leaves garbage which an idle broker would
	// keep for minutes.
	debug.FreeOSMemory()
	n.log.Info("serving",
		"grpc", n.listens.grpc.Addr().String(), "http", n.listens.http.Addr().String(),
		"metrics", n.listens.metrics.Addr().String(), "public_url", o.Config.PublicURL, "environment", o.Config.Environment)
	return n, nil
}

// Wait blocks until ctx ends or a server dies, and ends everything in reverse
// order. It returns nil after an orderly end.
func (n *Node) Wait(ctx context.Context) error { return n.stack.Wait(ctx) }

// GRPCAddr is where the contract is served, with the port that was chosen if
// the configuration said 0.
func (n *Node) GRPCAddr() net.Addr { return n.listens.grpc.Addr() }

// Broker is the broker that is served, for who calls it inside of this process.
func (n *Node) Broker() *broker.Broker { return n.broker }

// serveRPC is the last step: calls come in only once all else is up.
func (n *Node) serveRPC(ctx context.Context) error {
	trust, workload, err := n.trust(ctx)
	if err != nil {
		return err
	}
	tlsConfig, err := n.rpcTLS(workload)
	if err != nil {
		return err
	}
	server, err := rpc.NewServer(rpc.Config{
		Tokens: n.broker, Consents: n.broker, Admin: n.broker, Apps: n.broker, Keys: n.broker, Endings: n.broker, Record: n.broker, Access: n.broker, Refusals: n.broker,
		TLS: tlsConfig, Trust: trust,
		ExtAuthz: n.extAuthz(),
		Limits:   n.o.Config.Limits.RPC(),
		Metrics:  n.metrics, Log: n.log,
	})
	if err != nil {
		return fmt.Errorf("making the gRPC server: %w", err)
	}
	recheck := server.Recheck
	n.recheck.Store(&recheck)
	n.stack.Serve("gRPC server", n.o.Config.Provider.HTTPTimeout+serverGrace, func() error { return server.Serve(n.listens.grpc) }, server.Stop)
	watch, cancel := context.WithCancel(context.Background())
	n.stack.Serve("readiness watch", smallGrace, func() error {
		n.readiness.watch(watch, server.SetServing)
		return nil
	}, func(context.Context) error {
		cancel()
		return nil
	})
	return nil
}

// extAuthz is what of Envoy's external authorization is served: nothing, unless the
// configuration says so.
func (n *Node) extAuthz() rpc.ExtAuthz {
	if !n.o.Config.ExtAuthz.Enabled {
		return rpc.ExtAuthz{}
	}
	x := n.o.Config.ExtAuthzRPC()
	x.Broker = n.broker
	return x
}
