package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// serveCommand starts a server.
type serveCommand struct {
	TLS tlsFiles
	// Dir for whatever the server keeps.
	Dir string
	// Answer that the bare server gives: a serialized GetAccessTokenResponse.
	Answer []byte
	// Durable: the product's audit level.
	Durable bool
	// Store is the section of that name; "": an embedded one in Dir. Listen is the
	// address of the contract; "": any. KEK is a key file; "": a new one in Dir.
	Store, Listen, KEK string
}

// starter starts a server on a free port and returns its address and what ends it.
type starter func(serveCommand) (addr string, stop func() error, err error)

// serverProcess is a process with one gRPC server.
type serverProcess struct {
	start   starter
	stop    func() error
	profile *os.File
}

func (p *serverProcess) handle(q command) (r reply, err error) {
	switch {
	case q.Serve != nil:
		r.Addr, p.stop, err = p.start(*q.Serve)
		return r, err
	case q.StartProfile != "":
		return r, p.startProfile(q.StartProfile)
	case q.StopProfile:
		pprof.StopCPUProfile()
		return r, p.profile.Close()
	}
	return r, errors.New("a server does not know this command")
}

func (p *serverProcess) startProfile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	p.profile = f
	return pprof.StartCPUProfile(f)
}

func (p *serverProcess) close() error {
	if p.stop == nil {
		return nil
	}
	return p.stop()
}
