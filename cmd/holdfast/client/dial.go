package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

// maxAnswer bounds one answer in bytes: a hundred tokens of 64 KiB and some room.
const maxAnswer = 16 << 20

// Dial returns a connection to the broker that the resolved s names. It does
// not wait for the connection to be made. The caller closes it.
func (s *Settings) Dial() (*grpc.ClientConn, error) {
	if err := checkAddr(s.Addr); err != nil {
		return nil, err
	}
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
		// Not by Certificates: of those none is shown to a broker that names other CAs, which then
		// says that one is missing.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
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
		grpc.WithTransportCredentials(heard{credentials.NewTLS(config)}),
		grpc.WithUnaryInterceptor(told(s.way())),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUserAgent("holdfast-cli"),
		grpc.WithDisableServiceConfig())...)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", s.Addr, err)
	}
	return conn, nil
}

// checkAddr finds the addresses that people write and that gRPC takes for a name to resolve:
// it would say at the first call that the broker can not be reached.
func checkAddr(addr string) error {
	scheme, _, chosen := strings.Cut(addr, "://")
	if chosen && scheme != "http" && scheme != "https" {
		return nil // gRPC's own, e.g. dns
	}
	host, port, err := net.SplitHostPort(addr)
	if n, wrong := strconv.ParseUint(port, 10, 16); chosen || err != nil || host == "" || wrong != nil || n == 0 {
		return fmt.Errorf("--addr %q: want host:port, e.g. holdfast.internal:7443, without a scheme or a path", addr)
	}
	return nil
}
