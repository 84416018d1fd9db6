package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// seedGrant is the grant of dev mode that scenarios are about.
const seedGrant = "acme/automation/jira"

// names makes the names of clients and sources unique in a runner.
var names struct {
	sync.Mutex
	n int
}

// world is everything that one course of a scenario needs, and nobody else has.
type world struct {
	s      *scenario
	dir    string
	dev    *dev
	relay  *relay
	api    *apiServer // the API that the application wants to call
	other  *apiServer // somebody else
	runner *runner
	own    bool

	client, source, grant string
	closed                bool
	refused               *answer // to making the source; nil: it was made

	// began is when the scenario's token was made, generation is its own, and
	// expires when it ends; before are the provider's exchanges until then.
	began      time.Time
	generation uint64
	expires    time.Time
	before     int
	// late is the longest that a step came after its time; slow is how long a step took
	// that nothing but the machine can have held up.
	late, slow time.Duration

	background map[string]chan error

	mu    sync.Mutex // guards all below
	lines []string
	noted string // the token of the last line, if it came at once
	last  uint64 // newest generation that was handed out
}

// logf notes what happened, with the time of the scenario.
func (w *world) logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := "       "
	if !w.began.IsZero() {
		at = fmt.Sprintf("%6.2fs", time.Since(w.began).Seconds())
	}
	w.lines = append(w.lines, at+"  "+fmt.Sprintf(format, args...))
}

func (w *world) course() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// url puts the suite's servers in the place of their names.
func (w *world) url(u string) string {
	for name, server := range map[string]*apiServer{"api": w.api, "other": w.other} {
		if rest, found := strings.CutPrefix(u, name+":"); found {
			return server.URL + rest
		}
		if u == name {
			return server.URL
		}
	}
	return u
}

// starting has room for as many starts of processes as a small machine bears
// beside scenarios that are under way.
var starting = make(chan struct{}, 3)

// build makes the world of a scenario up to its first step.
func (w *world) build(ctx context.Context, f *fleet, binary string) error {
	starting <- struct{}{}
	err := w.start(f, binary)
	<-starting
	if err != nil {
		return err
	}
	return w.connect(ctx)
}

// start starts the world's processes.
func (w *world) start(f *fleet, binary string) error {
	w.grant, w.background = w.s.Source.Grant, map[string]chan error{}
	if w.grant == "" {
		w.grant = seedGrant
	}
	w.api, w.other = newAPIServer(), newAPIServer()
	var err error
	if w.relay, err = newRelay(); err != nil {
		return err
	}
	w.dev = &dev{binary: binary, dir: filepath.Join(w.dir, "dev"), ttl: w.s.Dev.AccessTTL, grace: w.s.Dev.AccessGrace}
	if err := w.dev.start(); err != nil {
		return err
	}
	w.relay.target(w.dev.grpc)
	if err := errors.Join(w.dev.identity(w.dir, w.s.Client.As, 0), w.dev.authority(w.dir, w.s.Client.Trusts)); err != nil {
		return err
	}
	if w.own = w.s.Runner == "own"; w.own {
		w.runner, err = f.start()
	} else {
		w.runner, err = f.sharedRunner()
	}
	return err
}

// connect makes the scenario's token, and the client and the source that want it.
func (w *world) connect(ctx context.Context) error {
	names.Lock()
	names.n++
	w.client, w.source = fmt.Sprintf("%s-%d", w.s.name, names.n), fmt.Sprintf("%s-%d", w.s.name, names.n)
	names.Unlock()
	if w.s.Skew != 0 {
		if _, err := w.ask(ctx, map[string]any{"op": "clock", "skew_ms": w.s.Skew.Milliseconds()}); err != nil {
			return err
		}
	}
	_, err := w.ask(ctx, map[string]any{
		"op": "dial", "client": w.client, "target": w.relay.addr(), "timeout_ms": w.s.Client.Timeout.Milliseconds(),
		"cert": filepath.Join(w.dir, "caller.crt"), "key": filepath.Join(w.dir, "caller.key"), "ca": filepath.Join(w.dir, "ca.crt"),
		"token_file": "", "plaintext": false,
	})
	if err != nil {
		return err
	}
	grant, err := w.dev.operate(ctx, "refresh", seedGrant)
	if err != nil {
		return fmt.Errorf("making the scenario's token: %w", err)
	}
	w.began, w.generation, w.expires = time.Now(), grant.Generation, grant.Expires
	if w.before, err = w.dev.exchanges(); err != nil {
		return err
	}
	// Not before the last moment: a short life must not end while the world is being built.
	if w.s.Client.Lives != 0 {
		if err := w.dev.identity(w.dir, w.s.Client.As, w.s.Client.Lives); err != nil {
			return err
		}
	}
	source := w.s.Source
	a, err := w.runner.ask(ctx, map[string]any{
		"op": "source", "client": w.client, "source": w.source, "grant": w.grant, "site": source.Site, "scopes": source.Scopes,
		"purpose": source.Purpose, "min_ttl_ms": source.MinTTL.Milliseconds(), "watch": source.Watch,
	})
	if err == nil && a.Error != nil {
		w.refused = a // which an SDK may say now or with the first token
	}
	return err
}

// ask sends a request to the runner, whose answer must be no error.
func (w *world) ask(ctx context.Context, request map[string]any) (*answer, error) {
	a, err := w.runner.ask(ctx, request)
	if err == nil && a.Error != nil {
		err = fmt.Errorf("%s: %s: %s", request["op"], a.Error.Reason, a.Error.Message)
	}
	return a, err
}

// demolish ends everything that build made; what does not end in good order is an error.
func (w *world) demolish(ctx context.Context) error {
	var errs []error
	if w.runner != nil && w.client != "" && !w.closed {
		w.relay.set(networkStep{State: "gone"}) // whoever still calls is answered at once
		_, err := w.ask(ctx, map[string]any{"op": "close", "client": w.client})
		errs = append(errs, err)
	}
	if w.own && w.runner != nil {
		errs = append(errs, w.runner.stop())
	}
	for _, done := range w.background {
		errs = append(errs, <-done) // nil if a step has judged it
	}
	if w.relay != nil {
		w.relay.close()
	}
	if w.dev != nil {
		errs = append(errs, w.dev.stop(syscall.SIGTERM))
	}
	for _, server := range []*apiServer{w.api, w.other} {
		server.CloseClientConnections()
		server.Close()
	}
	errs = append(errs, os.RemoveAll(w.dir))
	return errors.Join(errs...)
}

// newWorld in a directory of its own. Paths are short, and absolute: other
// processes read them.
func newWorld(s *scenario) (*world, error) {
	dir, err := os.MkdirTemp("", "holdfast-conformance-")
	return &world{s: s, dir: dir}, err
}
