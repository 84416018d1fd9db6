package holdfast

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// startGateway starts a gRPC server of somebody else's that notes the authorization of
// the calls, and returns its address and certificate.
func startGateway(t *testing.T, seen *[]string) (addr, cert string) {
	t.Helper()
	cert, key := writeCert(t, t.TempDir(), "gateway")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&pair)),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			*seen = append(*seen, strings.Join(md["authorization"], ","))
			return next(ctx, req)
		}))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), cert
}

func TestTheTokenGoesWithTheCallsOfAnotherConnection(t *testing.T) {
	var seen []string
	addr, cert := startGateway(t, &seen)
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	broker := newFakeBroker()
	client, stop := connect(t, broker)
	defer stop()
	source := client.TokenSource(t.Context(), grant)
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool})),
		grpc.WithPerRPCCredentials(source.PerRPCCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	check := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err
	}
	if err := check(); err != nil || len(seen) != 1 || seen[0] != "Bearer token-1" {
		t.Errorf("the gateway saw %q, %v", seen, err)
	}
	for _, c := range []struct {
		code   codes.Code
		reason Reason
		want   codes.Code
	}{{codes.Unavailable, StoreUnavailable, codes.Unavailable}, {codes.FailedPrecondition, ConsentRequired, codes.Unauthenticated}} {
		broker.set(func() { broker.fail = refusal(t, c.code, c.reason, 0, nil) })
		source.current = nil
		if err := check(); status.Code(err) != c.want || !strings.Contains(err.Error(), string(c.reason)) {
			t.Errorf("%s: got %v, want %v", c.reason, err, c.want)
		}
	}
	if len(seen) != 1 {
		t.Errorf("calls without a token went out: %q", seen)
	}
}

func TestTheTokenDoesNotCrossAnUnencryptedConnection(t *testing.T) {
	broker := newFakeBroker()
	client, stop := connect(t, broker)
	defer stop()
	creds := client.TokenSource(t.Context(), grant).PerRPCCredentials()
	if _, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(creds)); err == nil {
		t.Error("a connection without TLS was made")
	}
	ctx := credentials.NewContextWithRequestInfo(t.Context(), credentials.RequestInfo{AuthInfo: plain{}})
	if _, err := creds.GetRequestMetadata(ctx); err == nil || !strings.Contains(err.Error(), "refusing to send the token") {
		t.Errorf("got %v", err)
	}
	if gets, _ := broker.calls(); gets != 0 {
		t.Errorf("the broker was asked %d times", gets)
	}
}

// plain is a connection that says of itself that it is not encrypted.
type plain struct{ credentials.CommonAuthInfo }

func (plain) AuthType() string { return "plain" }
func (plain) GetCommonAuthInfo() credentials.CommonAuthInfo {
	return credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}
}
