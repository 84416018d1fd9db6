package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/broker"
)

type bare struct {
	holdfastv1.UnimplementedTokenServiceServer
	resp *holdfastv1.GetAccessTokenResponse
}

func (b *bare) GetAccessToken(context.Context, *holdfastv1.GetAccessTokenRequest) (*holdfastv1.GetAccessTokenResponse, error) {
	return b.resp, nil
}

type fast struct{ *fakeBroker; a *broker.TokenAnswer }

func (f fast) AccessToken(ctx context.Context, c broker.Caller, r broker.TokenRequest) (*broker.TokenAnswer, error) {
	return f.a, nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestNet(t *testing.T) {
	ca := newAuthority(t)
	fb := newFakeBroker()
	fb.token = strings.Repeat("x", 2048)
	conf := Config{Tokens: fast{fb, fb.answer()}, Consents: fb, Admin: fb, TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.issue("broker.test", time.Now().Add(time.Hour), false)}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert},
		CallerName: newRig(t).config.CallerName}
	ours, err := NewServer(conf)
	if err != nil {
		t.Fatal(err)
	}
	start := func(serve func(net.Listener) error) *grpc.ClientConn {
		lis, _ := net.Listen("tcp", "127.0.0.1:0")
		go serve(lis)
		c := &tls.Config{RootCAs: ca.pool, ServerName: "broker.test", Certificates: []tls.Certificate{ca.issue(mapped, time.Now().Add(time.Hour), false)}}
		conn, _ := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(c)))
		return conn
	}
	mk := func(o ...grpc.ServerOption) *grpc.ClientConn {
		s := grpc.NewServer(append(o, grpc.Creds(credentials.NewTLS(conf.TLS)))...)
		holdfastv1.RegisterTokenServiceServer(s, &bare{resp: wireToken(fb.token)})
		return start(s.Serve)
	}
	conns := map[string]*grpc.ClientConn{"1bare": mk(), "2bareworkers": mk(grpc.NumStreamWorkers(64)), "3bareswb": mk(grpc.SharedWriteBuffer(true)), "4ours": start(ours.Serve)}
	req := hotRequest()
	for round := range 6 {
		for _, name := range []string{"1bare", "2bareworkers", "3bareswb", "4ours"} {
			client := holdfastv1.NewTokenServiceClient(conns[name])
			const n, c = 20000, 64
			c0, t0 := cpu(), time.Now()
			var wg sync.WaitGroup
			for range c {
				wg.Go(func() {
					for range n / c {
						if _, err := client.GetAccessToken(context.Background(), req); err != nil {
							panic(err)
						}
					}
				})
			}
			wg.Wait()
			fmt.Printf("%d %-14s cpu/op %v  rps %.0f\n", round, name, (cpu()-c0)/n, n/time.Since(t0).Seconds())
		}
	}
}
