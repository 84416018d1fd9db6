package thirdparty

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

const (
	jiraGrant       = "acme/automation/jira"
	confluenceGrant = "acme/automation/confluence"
	// startBound of `holdfast dev`, and stopBound.
	startBound, stopBound = time.Minute, 30 * time.Second
)

// devMode is a running `holdfast dev`.
type devMode struct {
	Addr string `json:"addr"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
	CA   string `json:"ca"`

	cmd   *exec.Cmd
	ended chan error
}

var (
	// binary of this checkout.
	binary string
	// dev is for the tests that only read.
	dev *devMode
)

func TestMain(m *testing.M) {
	code, err := withDev(m.Run)
	if err == nil {
		http.DefaultClient.CloseIdleConnections()
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withDev runs tests with a binary and a dev mode.
func withDev(tests func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "holdfast-thirdparty-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary = filepath.Join(dir, "holdfast")
	build := exec.Command("go", "build", "-o", binary, "./cmd/holdfast")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building holdfast: %w\n%s", err, out)
	}
	if dev, err = start(filepath.Join(dir, "dev")); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, dev.stop()) }()
	return tests(), nil
}

// output of a process that another goroutine waits for.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{} // closed when the banner is complete
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	complete := func() bool { return bytes.Contains(o.text.Bytes(), []byte("Ctrl-C ends it")) }
	before := complete()
	o.text.Write(p)
	if !before && complete() {
		close(o.ready)
	}
	return len(p), nil
}

// start a dev mode in dir and wait until it is of use.
func start(dir string) (*devMode, error) {
	said := &output{ready: make(chan struct{})}
	d := &devMode{ended: make(chan error, 1)}
	d.cmd = exec.Command(binary, "dev", "--dir", dir, "--grpc-port", "0", "--http-port", "0", "--metrics-port", "0", "--sim-port", "0")
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.WaitDelay = said, said, stopBound
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.ended <- d.cmd.Wait() }()
	select {
	case <-said.ready:
	case err := <-d.ended:
		return nil, fmt.Errorf("holdfast dev ended: %w\n%s", err, &said.text)
	case <-time.After(startBound):
		return nil, errors.Join(errors.New("holdfast dev did not start in time"), d.cmd.Process.Kill(), <-d.ended)
	}
	text, err := os.ReadFile(filepath.Join(dir, "client.json"))
	if err == nil {
		err = json.Unmarshal(text, d)
	}
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	d.Cert, d.Key, d.CA = filepath.Join(dir, d.Cert), filepath.Join(dir, d.Key), filepath.Join(dir, d.CA)
	return d, nil
}

func (d *devMode) stop() error {
	late := time.AfterFunc(stopBound, func() { _ = d.cmd.Process.Kill() })
	defer late.Stop()
	return errors.Join(d.cmd.Process.Signal(os.Interrupt), <-d.ended)
}

// api is a grant as the tests use it.
type api struct {
	source *holdfast.TokenSource
	// http sends requests for relative URLs, as the examples in README.md do.
	http *http.Client
}

func (d *devMode) open(t *testing.T, grant string, opts ...holdfast.DialOption) api {
	t.Helper()
	opts = append(opts, holdfast.WithTLSFiles(d.Cert, d.Key, d.CA))
	client, err := holdfast.Dial(d.Addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(func() {
		base.CloseIdleConnections()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	source := client.TokenSource(t.Context(), grant)
	return api{source, &http.Client{Transport: &holdfast.Transport{Source: source, Base: base, Relative: true}}}
}

// endTokens lets an hour pass at the provider, and at the provider only: every access
// token has ended there, and neither the client nor the broker expects it.
func (a api) endTokens(t *testing.T) {
	t.Helper()
	base, err := a.source.APIBase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.Scheme+"://"+u.Host+"/_sim/clock/advance", bytes.NewBufferString(`{"by":"61m"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("setting the provider's clock: %s %s %v", resp.Status, text, err)
	}
}

// generation of the present token.
func (a api) generation(t *testing.T) uint64 {
	t.Helper()
	token, err := a.source.Token()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := token.Extra("generation").(uint64)
	return n
}

// midway runs a loop over pages and ends all tokens after its second page. The loop must
// get all that there is, and must have had two tokens. Each has a dev mode of its own: a broker
// believes one report in 10 s of each grant.
func midway(t *testing.T, grant string, want int, loop func(a api, turned func()) (got int, err error)) {
	t.Parallel()
	d, err := start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	}()
	a := d.open(t, grant)
	before, pages := a.generation(t), 0
	got, err := loop(a, func() {
		if pages++; pages == 2 {
			a.endTokens(t)
		}
	})
	if err != nil || got != want {
		t.Errorf("the loop got %d of %d, %v", got, want, err)
	}
	if pages < 3 {
		t.Errorf("the loop turned %d pages: nothing came after the end of the token", pages)
	}
	if after := a.generation(t); after <= before {
		t.Errorf("the token is of generation %d, as before: it did not end", after)
	}
}
