package main

import (
	"errors"
	"fmt"
	"net"
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
}

// builder makes a server ready to serve, and what stops it and all behind it.
type builder func(serveCommand) (server, func() error, error)

// server is a *grpc.Server or an *rpc.Server.
type server interface{ Serve(net.Listener) error }

// serverProcess is a process with one gRPC server.
type serverProcess struct {
	build   builder
	cleanUp func() error
	served  chan error
	profile *os.File
}

func (p *serverProcess) handle(q command) (reply, error) {
	switch {
	case q.Serve != nil:
		return p.serve(*q.Serve)
	case q.StartProfile != "":
		return reply{}, p.startProfile(q.StartProfile)
	case q.StopProfile:
		return reply{}, p.stopProfile()
	}
	return reply{}, errors.New("a server does not know this command")
}

func (p *serverProcess) serve(c serveCommand) (reply, error) {
	s, cleanUp, err := p.build(c)
	if err != nil {
		return reply{}, err
	}
	p.cleanUp = cleanUp
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return reply{}, fmt.Errorf("listening: %w", err)
	}
	p.served = make(chan error, 1)
	go func() { p.served <- s.Serve(listener) }()
	return reply{Addr: listener.Addr().String()}, nil
}

func (p *serverProcess) startProfile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	p.profile = f
	return pprof.StartCPUProfile(f)
}

func (p *serverProcess) stopProfile() error {
	pprof.StopCPUProfile()
	return p.profile.Close()
}

func (p *serverProcess) close() error {
	if p.cleanUp == nil {
		return nil
	}
	err := p.cleanUp()
	if p.served != nil {
		err = errors.Join(err, <-p.served)
	}
	return err
}
