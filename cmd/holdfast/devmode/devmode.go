// Package devmode owns `holdfast dev`: a broker, a simulated provider and two
// consented grants on loopback, out of one directory that a second start finds
// again. The consents go the way that people's do: link, connect page,
// provider, callback. Nothing of it is for production.
package devmode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/lifecycle"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/internal/freeport"
	"github.com/holdfast-io/holdfast/secret"
)

// Default ports: fixed, so that pasted commands and bookmarks stay good.
const (
	DefaultGRPCPort    = 7443
	DefaultHTTPPort    = 7080
	DefaultMetricsPort = 7090
	DefaultSimPort     = 7400
)

const (
	// callerName is the common name of the development client certificate.
	callerName = "dev"
	host       = "127.0.0.1"
	// startBound of everything up to the printed commands.
	startBound = time.Minute
	// stopGrace is more than the broker's own parts need together.
	stopGrace = 2 * time.Minute
	simGrace  = 10 * time.Second
)

// Options of dev mode.
type Options struct {
	// Dir holds everything; made if it does not exist.
	Dir string
	// Ports; 0 means any free one.
	GRPCPort, HTTPPort, MetricsPort, SimPort int
	// AccessTTL is the life of the simulated provider's access tokens, AccessGrace how
	// long an old one lives on after a rotation: whole seconds; 0 means as at Atlassian.
	AccessTTL, AccessGrace time.Duration
	// Self is how a shell calls this program, e.g. "go run ./cmd/holdfast".
	Self string
	// Version of the program.
	Version string
	// Out gets what people read; Log all else.
	Out io.Writer
	Log *slog.Logger
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
}

// Run starts everything, prints what can be done with it, and blocks until ctx
// ends or a part dies. It returns nil after an orderly end.
func Run(ctx context.Context, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	stack := lifecycle.New(o.Log)
	if err := start(ctx, o, stack); err != nil {
		stopped := stack.Stop()
		if ctx.Err() != nil {
			return stopped // interrupted while starting: what failed by it is no news
		}
		return errors.Join(hint(err), stopped)
	}
	told := make(chan struct{})
	unasked := context.AfterFunc(ctx, func() {
		defer close(told)
		_, _ = fmt.Fprintln(o.Out, "\n  stopping") // what ends goes on ending if nobody reads it
	})
	err := stack.Wait(ctx)
	if !unasked() {
		<-told
	}
	return err
}

func start(ctx context.Context, o Options, stack *lifecycle.Stack) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	if err := errors.Join(o.ports(), o.lives()); err != nil {
		return node.Input(err)
	}
	if err := prepare(o.Dir, o); err != nil {
		return node.Input(err)
	}
	a, err := choose(o)
	if err != nil {
		return err
	}
	if err := serveSim(ctx, o, &a, stack); err != nil {
		return err
	}
	text, c, err := makeConfig(o.Dir, a, o.AccessGrace)
	if err != nil {
		return node.Input(err)
	}
	n, err := node.Start(ctx, node.Options{Config: c, Version: o.Version, Log: o.Log})
	if err != nil {
		return err
	}
	run, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	stack.Serve("broker", stopGrace, func() error {
		defer close(done)
		return n.Wait(run)
	}, func(ctx context.Context) error {
		end()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err := publish(o.Dir, a, text); err != nil {
		return err
	}
	found, err := seed(ctx, o)
	if err != nil {
		return err
	}
	return banner(o, a, found)
}

// ports reports the first port that is none.
func (o Options) ports() error {
	for _, p := range []struct {
		flag string
		port int
	}{{"--grpc-port", o.GRPCPort}, {"--http-port", o.HTTPPort}, {"--metrics-port", o.MetricsPort}, {"--sim-port", o.SimPort}} {
		if p.port < 0 || p.port > 65535 {
			return fmt.Errorf("%s %d: want a port from 1 to 65535, or 0 for any free one", p.flag, p.port)
		}
	}
	return nil
}

// lives reports durations that the simulated provider cannot keep.
func (o Options) lives() error {
	for _, d := range []struct {
		flag string
		v    time.Duration
	}{{"--access-ttl", o.AccessTTL}, {"--access-grace", o.AccessGrace}} {
		if d.v < 0 || d.v%time.Second != 0 {
			return fmt.Errorf("%s %v: want whole seconds such as 30s or 5m, or 0 for Atlassian's own", d.flag, d.v)
		}
	}
	return nil
}

// behaviour of the simulated provider.
func (o Options) behaviour() *atlassiansim.Behaviour {
	b := atlassiansim.DefaultBehaviour()
	if o.AccessTTL > 0 {
		b.AccessTTLSeconds = int(o.AccessTTL / time.Second)
	}
	if o.AccessGrace > 0 {
		b.AccessGraceSeconds = int(o.AccessGrace / time.Second)
	}
	return &b
}

// choose fixes all addresses: they are written down before anything is served.
func choose(o Options) (addresses, error) {
	var a addresses
	taken := map[string]bool{}
	for _, p := range []struct {
		port int
		into *string
	}{{o.GRPCPort, &a.GRPC}, {o.HTTPPort, &a.HTTP}, {o.MetricsPort, &a.Metrics}, {o.SimPort, &a.simAddr}} {
		addr := net.JoinHostPort(host, strconv.Itoa(p.port))
		for p.port == 0 && (addr == net.JoinHostPort(host, "0") || taken[addr]) {
			var err error
			if addr, err = freeport.Address(); err != nil {
				return a, err
			}
		}
		taken[addr] = true
		*p.into = addr
	}
	a.PublicURL, a.Sim = "http://"+a.HTTP, "http://"+a.simAddr
	return a, nil
}

// serveSim starts the simulated provider with the two apps.
func serveSim(ctx context.Context, o Options, a *addresses, stack *lifecycle.Stack) error {
	apps := make([]atlassiansim.App, len(devApps))
	for i, app := range devApps {
		text, err := os.ReadFile(filepath.Join(o.Dir, app.SecretFile))
		if err != nil {
			return fmt.Errorf("reading a client secret: %w", err)
		}
		apps[i] = atlassiansim.App{
			ClientID: app.ClientID, Name: "Holdfast dev, " + app.Product, Secrets: []secret.String{trimmed(text)},
			CallbackURL: a.PublicURL + "/oauth/callback", Scopes: append([]string{"read:me"}, app.Scopes...),
		}
	}
	sim, err := atlassiansim.New(atlassiansim.Config{Apps: apps, Behaviour: o.behaviour(), StateFile: filepath.Join(o.Dir, "sim.json")})
	if err != nil {
		return fmt.Errorf("making the simulator: %w", err)
	}
	lis, err := node.Listen(ctx, "the simulator", "--sim-port", a.simAddr)
	if err != nil {
		return err
	}
	run, end := context.WithCancel(context.Background())
	silent := &silentListener{Listener: lis}
	stack.Serve("simulator", simGrace, func() error { return atlassiansim.Serve(run, silent, sim, o.Log) },
		func(context.Context) error {
			end()
			silent.hangUp()
			return nil
		})
	return nil
}

// hint says which flag of dev mode sets an address that is taken.
func hint(err error) error {
	flags := map[string]string{"grpc.listen": "--grpc-port", "http.listen": "--http-port", "metrics.listen": "--metrics-port"}
	if taken, ok := errors.AsType[*node.ListenError](err); ok && flags[taken.Key] != "" {
		return fmt.Errorf("%w, here by %s", err, flags[taken.Key])
	}
	return err
}

// settings of the development client.
func settings(dir string) (*client.Settings, error) {
	s := &client.Settings{Dir: dir, Timeout: startBound}
	return s, s.FromDev()
}
