package main

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// bareService answers every call with the same message: grpc-go, TLS and
// protobuf with nothing behind them.
type bareService struct {
	holdfastv1.UnimplementedTokenServiceServer
	answer *holdfastv1.GetAccessTokenResponse
}

func (s bareService) GetAccessToken(context.Context, *holdfastv1.GetAccessTokenRequest) (*holdfastv1.GetAccessTokenResponse, error) {
	return s.answer, nil
}

// startBare runs a server with default options and no interceptors.
func startBare(c serveCommand) (string, func() error, error) {
	config, err := c.TLS.serverConfig()
	if err != nil {
		return "", nil, err
	}
	answer := &holdfastv1.GetAccessTokenResponse{}
	if err := proto.Unmarshal(c.Answer, answer); err != nil {
		return "", nil, fmt.Errorf("reading the answer to give: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listening: %w", err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	holdfastv1.RegisterTokenServiceServer(s, bareService{answer: answer})
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	return listener.Addr().String(), func() error { s.Stop(); return <-served }, nil
}
