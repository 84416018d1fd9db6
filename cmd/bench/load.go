package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// loadTarget is a server and what to ask of it.
type loadTarget struct {
	Addr string
	TLS  tlsFiles
	// PID of the server, whose processor time is measured.
	PID int
}

// loadCommand is one measurement of several servers in alternation.
type loadCommand struct {
	Targets        []loadTarget
	Callers, Conns int
	// WarmUp before anything is measured, and Duration measured, of each server.
	WarmUp, Duration time.Duration
}

// loadResult is what one measurement found about one server.
type loadResult struct {
	Calls     int
	Elapsed   time.Duration
	P50, P99  time.Duration
	ServerCPU time.Duration
}

func (r loadResult) sample() sample {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	calls := float64(r.Calls)
	return sample{
		rps:   calls / r.Elapsed.Seconds(),
		p50ms: ms(r.P50),
		p99ms: ms(r.P99),
		cpuUS: float64(r.ServerCPU) / float64(time.Microsecond) / calls,
	}
}

// loadProcess is the process of the callers.
type loadProcess struct{}

func (loadProcess) close() error { return nil }

func (loadProcess) handle(q command) (reply, error) {
	switch {
	case q.Fetch != nil:
		answer, err := fetch(*q.Fetch)
		return reply{Answer: answer}, err
	case q.Load != nil:
		results, err := q.Load.run()
		return reply{Load: results}, err
	}
	return reply{}, errors.New("the load generator does not know this command")
}

// request that every call sends: the address form, a purpose and a minimum
// life, as a careful client would.
func request() *holdfastv1.GetAccessTokenRequest {
	return &holdfastv1.GetAccessTokenRequest{
		Grant: &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{
			Address: &holdfastv1.GrantAddress{Tenant: benchAddress.Tenant, Subject: benchAddress.Subject, Product: benchAddress.Product},
		}},
		MinTtl:  durationpb.New(time.Minute),
		Purpose: "bench",
	}
}

// dial makes connections that are up before it returns.
func dial(ctx context.Context, t loadTarget, n int) ([]*grpc.ClientConn, error) {
	var conns []*grpc.ClientConn
	for range n {
		conn, err := dialTo(t)
		if err == nil {
			conns = append(conns, conn)
			_, err = holdfastv1.NewTokenServiceClient(conn).GetAccessToken(ctx, request())
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connecting: %w", err), closeAll(conns))
		}
	}
	return conns, nil
}

// dialTo makes a connection that comes up when it is used.
func dialTo(t loadTarget) (*grpc.ClientConn, error) {
	config, err := t.TLS.clientConfig()
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("passthrough:///"+t.Addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
}

func closeAll(conns []*grpc.ClientConn) error {
	var err error
	for _, c := range conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// fetch returns the server's answer to the request, serialized.
func fetch(t loadTarget) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conns, err := dial(ctx, t, 1)
	if err != nil {
		return nil, err
	}
	answer, err := holdfastv1.NewTokenServiceClient(conns[0]).GetAccessToken(ctx, request())
	if err != nil {
		return nil, errors.Join(err, closeAll(conns))
	}
	bytes, err := proto.Marshal(answer)
	return bytes, errors.Join(err, closeAll(conns))
}
