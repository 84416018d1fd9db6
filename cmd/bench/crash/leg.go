package crash

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// lifePatience is how long a life may take until it serves, or until it has
// come to its point.
const lifePatience = 45 * time.Second

// leg is a run of kills of one broker against one provider.
type leg struct {
	name     string
	binaries Binaries
	seed     uint64
	log      io.Writer
	recovery time.Duration // of all grants, after the last kill

	*place
	sim    *sim
	roots  *tls.Config
	conn   *grpc.ClientConn
	grants []*grant

	tokens   holdfastv1.TokenServiceClient
	consents holdfastv1.ConsentServiceClient
	admin    holdfastv1.AdminServiceClient

	kills map[string]int
}

// open starts the provider and prepares the connections.
func (l *leg) open(ctx context.Context, dir string, switches map[string]any) (err error) {
	if l.place, err = newPlace(dir); err != nil {
		return err
	}
	if l.roots, err = roots(l.place); err != nil {
		return err
	}
	if l.sim, err = startSim(ctx, l.binaries.Released, l.place, l.seed); err != nil {
		return err
	}
	all := map[string]any{
		"leeway_seconds": int(leeway.Seconds()), "access_ttl_seconds": int(accessLife.Seconds()), "access_grace_seconds": int(accessGrace.Seconds()),
	}
	for name, value := range switches {
		all[name] = value
	}
	if err := l.sim.behave(ctx, all); err != nil {
		return err
	}
	if err := l.configure(l.sim.url); err != nil {
		return err
	}
	return l.dial()
}

func (l *leg) dial() error {
	pair, err := tls.LoadX509KeyPair(l.path(devca.ClientCert), l.path(devca.ClientKey))
	if err != nil {
		return fmt.Errorf("loading the callers' certificate: %w", err)
	}
	config := l.roots.Clone()
	config.Certificates = []tls.Certificate{pair}
	// The broker is back within moments: look again soon.
	soon := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.2, MaxDelay: 100 * time.Millisecond}
	l.conn, err = grpc.NewClient("passthrough:///"+l.grpc, grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: 5 * time.Second}))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	l.tokens, l.consents, l.admin = holdfastv1.NewTokenServiceClient(l.conn), holdfastv1.NewConsentServiceClient(l.conn), holdfastv1.NewAdminServiceClient(l.conn)
	return nil
}

// close ends what open started.
func (l *leg) close() error {
	var err error
	if l.conn != nil {
		err = l.conn.Close()
	}
	if l.sim != nil {
		err = errors.Join(err, l.sim.stop())
	}
	return err
}

// live starts the broker.
func (l *leg) live(ctx context.Context, binary string, environment ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, binary, "serve", "--config", "holdfast.yaml")
	cmd.Dir = l.dir
	cmd.Env = append(cmd.Environ(), environment...)
	return startProcess(cmd, l.path("serve.log"))
}

// seedGrants consents to every grant, in one undisturbed life.
func (l *leg) seedGrants(ctx context.Context) error {
	p, err := l.live(ctx, l.binaries.Released)
	if err != nil {
		return err
	}
	for _, g := range l.grants {
		if err := l.consent(ctx, g); err != nil {
			return errors.Join(fmt.Errorf("consenting to %s: %w\n%s", g, err, tail(l.path("serve.log"))), p.kill())
		}
	}
	return p.stop()
}

// die is one life that ends as d says.
func (l *leg) die(ctx context.Context, d death, under *load) error {
	select {
	case <-under.served: // of the life before
	default:
	}
	if d.rekeying {
		defer l.meanwhile(ctx, 100*time.Millisecond, l.rekey)()
	}
	if d.consenting {
		defer l.meanwhile(ctx, 100*time.Millisecond, func(ctx context.Context) bool { return l.consent(ctx, l.grants[0]) != nil })()
	}
	if d.point == "" {
		return l.dieKilled(ctx, d, under)
	}
	p, err := l.live(ctx, l.binaries.Tagged, fmt.Sprintf("HOLDFAST_CRASHPOINT=%s:%d", d.point, d.nth))
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(lifePatience):
		return errors.Join(fmt.Errorf("the broker did not come to %s within %v", d.point, lifePatience), p.kill())
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.kill())
	}
	if err := p.killed(); err != nil {
		return err
	}
	l.kills[d.point]++
	return nil
}

// meanwhile does something again after each pause, as long as that says so: its
// first call may still be sent to the life before. What is returned ends it.
func (l *leg) meanwhile(ctx context.Context, rest time.Duration, again func(context.Context) bool) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for again(ctx) && pause(ctx, rest) {
			continue
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (l *leg) dieKilled(ctx context.Context, d death, under *load) error {
	p, err := l.live(ctx, l.binaries.Released)
	if err != nil {
		return err
	}
	if !d.starting {
		select {
		case <-under.served:
		case <-p.ended:
		case <-time.After(lifePatience):
			return errors.Join(fmt.Errorf("nobody was served within %v of a start", lifePatience), p.kill())
		}
	}
	select {
	case <-p.ended: // which is wrong: kill says so
	case <-time.After(d.after):
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.kill())
	}
	if err := p.kill(); err != nil {
		return err
	}
	l.kills["random"]++
	return nil
}
