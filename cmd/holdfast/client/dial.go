package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

// maxAnswer bounds one answer in bytes: a hundred tokens of 64 KiB and some room.
const maxAnswer = 16 << 20

// Dial returns a connection to the broker that the resolved s names. It does
// not wait for the connection to be made. The caller closes it.
func (s *Settings) Dial() (*grpc.ClientConn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName}
	var options []grpc.DialOption
	if s.TokenFile != "" {
		token, err := holdfast.TokenFile(s.TokenFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(token))
	} else {
		cert, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("loading the client certificate %s with key %s: %w", s.Cert, s.Key, err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("loading the broker's CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("loading the broker's CA: %s holds no certificate in PEM form", s.CA)
		}
	}
	conn, err := grpc.NewClient(s.Addr, append(options,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUserAgent("holdfast-cli"),
		grpc.WithDisableServiceConfig())...)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", s.Addr, err)
	}
	return conn, nil
}
