package main

import (
	"context"
	"fmt"

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

// buildBare makes a server with default options and no interceptors.
func buildBare(c serveCommand) (server, func() error, error) {
	config, err := c.TLS.serverConfig()
	if err != nil {
		return nil, nil, err
	}
	answer := &holdfastv1.GetAccessTokenResponse{}
	if err := proto.Unmarshal(c.Answer, answer); err != nil {
		return nil, nil, fmt.Errorf("reading the answer to give: %w", err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	holdfastv1.RegisterTokenServiceServer(s, bareService{answer: answer})
	return s, func() error { s.Stop(); return nil }, nil
}
