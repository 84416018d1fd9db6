package rpc

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func hotRequest() *holdfastv1.GetAccessTokenRequest {
	return &holdfastv1.GetAccessTokenRequest{
		Grant: &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{
			Address: &holdfastv1.GrantAddress{Tenant: "acme", Subject: "automation", Product: "jira"},
		}},
		RequiredScopes: []string{"read:jira-work"},
		MinTtl:         durationpb.New(time.Minute),
		Purpose:        "sync",
	}
}

// always is somebody whose identity needs no look.
type always struct{}

var alwaysIdentity = &identity.Identity{
	Caller: broker.Caller{Name: mapped, Kind: broker.CallerX509, NotAfter: time.Now().Add(time.Hour)}, Mapped: true,
}

func (always) Identity(time.Time) (*identity.Identity, error) { return alwaysIdentity, nil }

// BenchmarkInterceptor measures what the fused interceptor adds to a hot call,
// without the network.
func BenchmarkInterceptor(b *testing.B) {
	v, err := newValidator()
	if err != nil {
		b.Fatal(err)
	}
	m, err := newMetrics(nil)
	if err != nil {
		b.Fatal(err)
	}
	const full = holdfastv1.TokenService_GetAccessToken_FullMethodName
	trust, err := identity.New(identity.Config{})
	if err != nil {
		b.Fatal(err)
	}
	e := &edge{trust: trust, log: slog.New(slog.DiscardHandler), now: time.Now, validator: v, methods: map[string]*method{
		full: m.method("holdfast.v1.TokenService", "GetAccessToken"),
	}, limiter: newLimiter(Limits{Caller: Rate{GreatestRate, GreatestRate}}, time.Now(), slog.New(slog.DiscardHandler), m.limited)}
	ctx := peer.NewContext(context.Background(), &peer.Peer{AuthInfo: &connection{peer: always{}}})
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(
		":authority", "x", "content-type", "application/grpc", "user-agent", "grpc-go", "grpc-accept-encoding", "gzip"))
	req := hotRequest()
	info := &grpc.UnaryServerInfo{FullMethod: full}
	answer := newFakeBroker().answer()
	handler := func(ctx context.Context, req any) (any, error) {
		_ = callerOf(ctx)
		_ = tokenRequest(req.(*holdfastv1.GetAccessTokenRequest))
		return tokenOut(answer), nil
	}
	b.Run("bare handler", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := handler(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.unary(ctx, req, info, handler); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("validation", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if bad, err := invalid(v, req, "id"); bad != nil || err != nil {
				b.Fatal(bad, err)
			}
		}
	})
	b.Run("request id", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = requestID(ctx)
		}
	})
}
