package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// The hidden verb that runs one of the processes, and their names.
const (
	childVerb    = "process"
	childBare    = "bare-server"
	childProduct = "product-server"
	childLoad    = "load-generator"
	childHostile = "attackers"
	childToken   = "token-endpoint"
	childRefresh = "refresher"
	childScale   = "scaler"
)

// child is a process of this same program. It is asked by one JSON value a line
// on its standard input and answers each by one on its standard output; the end
// of its input ends it, so that it never outlives the run, however that ends.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// sharedWriter lets this process and its children write to one log.
type sharedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// Write implements io.Writer.
func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// anyCore leaves a process all cores.
const anyCore = -1

// startChild starts a process pinned to one core, or to none.
func startChild(ctx context.Context, name string, core int, stderr io.Writer) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, childVerb, name)
	if core != anyCore {
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	cmd.Stderr = stderr
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := cmd.Start
	if core != anyCore {
		start = func() error { return startPinned(cmd, core) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return &child{name: name, cmd: cmd, in: in, out: json.NewDecoder(out)}, nil
}

// ask sends a question and waits for its answer.
func (c *child) ask(question command) (reply, error) {
	if err := json.NewEncoder(c.in).Encode(question); err != nil {
		return reply{}, fmt.Errorf("asking %s: %w", c.name, err)
	}
	var r reply
	if err := c.out.Decode(&r); err != nil {
		return reply{}, fmt.Errorf("%s ended without an answer: %w", c.name, err)
	}
	if r.Error != "" {
		return reply{}, fmt.Errorf("%s: %s", c.name, r.Error)
	}
	return r, nil
}

// stop ends the process and waits for it.
func (c *child) stop() error {
	err := c.in.Close()
	if werr := c.cmd.Wait(); werr != nil {
		return fmt.Errorf("%s: %w", c.name, werr)
	}
	return err
}

// command is a question to a process: exactly one field is set.
type command struct {
	Serve        *serveCommand  `json:"serve,omitempty"`
	Fetch        *loadTarget    `json:"fetch,omitempty"`
	Load         *loadCommand   `json:"load,omitempty"`
	StartProfile string         `json:"start_profile,omitempty"`
	StopProfile  bool           `json:"stop_profile,omitempty"`
	Attack       *attackCommand `json:"attack,omitempty"`
	EndAttack    bool           `json:"end_attack,omitempty"`

	Endpoint *endpointCommand `json:"endpoint,omitempty"`
	Delay    *time.Duration   `json:"delay,omitempty"`
	Refresh  *refreshCommand  `json:"refresh,omitempty"`
	Slice    *sliceCommand    `json:"slice,omitempty"`
	Scale    *scaleCommand    `json:"scale,omitempty"`
	// Disturb has the others of a slice at work until Calm.
	Disturb *sliceCommand `json:"disturb,omitempty"`
	Calm    bool          `json:"calm,omitempty"`
}

// reply answers a command; Error is set if it failed.
type reply struct {
	Error string `json:"error,omitempty"`
	// Addr that the server listens on.
	Addr string `json:"addr,omitempty"`
	// Answer fetched: a serialized GetAccessTokenResponse.
	Answer []byte `json:"answer,omitempty"`
	// Load has one result for each target.
	Load []loadResult `json:"load,omitempty"`
	// Posts that the token endpoint has taken.
	Posts int64 `json:"posts,omitempty"`
	// Twice is how many of them had a token that had come before.
	Twice int64 `json:"twice,omitempty"`
	// Slice of a measurement.
	Slice *sliceReply `json:"slice,omitempty"`
	Scale *scaleReply `json:"scale,omitempty"`
}

// handler answers commands; close is called when the process is to end.
type handler interface {
	handle(command) (reply, error)
	close() error
}

// runChild is the main function of a process.
func runChild(name string) error {
	// Ctrl-C reaches the whole process group; the end of the input is what ends a child.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	var h handler
	switch name {
	case childBare:
		h = &serverProcess{start: startBare}
	case childProduct:
		h = &serverProcess{start: startProduct}
	case childLoad:
		h = loadProcess{}
	case childHostile:
		h = new(hostileProcess)
	case childToken:
		h = new(endpoint)
	case childRefresh:
		h = new(refresher)
	case childScale:
		h = new(scaler)
	default:
		return errors.New("no such process")
	}
	return errors.Join(converse(h, os.Stdin, os.Stdout), h.close())
}

func converse(h handler, in io.Reader, out io.Writer) error {
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q command
		err := questions.Decode(&q)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := h.handle(q)
		if err != nil {
			r = reply{Error: err.Error()}
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
}
