package holdfast

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

type spanKey struct{}

// tracer stands for OpenTelemetry's stats handler: it finds the span in the call's
// context and sends its name along.
type tracer struct {
	stats.Handler

	mu    sync.Mutex
	spans []any
}

func (tr *tracer) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.spans = append(tr.spans, ctx.Value(spanKey{}))
	return metadata.AppendToOutgoingContext(ctx, "traceparent", "span")
}
func (tr *tracer) HandleRPC(context.Context, stats.RPCStats) {}
func (tr *tracer) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}
func (tr *tracer) HandleConn(context.Context, stats.ConnStats) {}

func TestACallBelongsToTheTraceOfItsCauseAndNothingElseOfItGoesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := newFakeBroker()
		broker.delay = time.Minute / 2
		var sent []metadata.MD
		listener := bufconn.Listen(1 << 20)
		server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			broker.set(func() { sent = append(sent, md) })
			return next(ctx, req)
		}))
		holdfastv1.RegisterTokenServiceServer(server, broker)
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		tr := &tracer{}
		client, err := Dial("127.0.0.1:7443", WithPlaintext(), WithGRPC(grpc.WithStatsHandler(tr),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) })))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), spanKey{}, "of the caller"), time.Second)
		defer cancel()
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer of another service")
		s := client.TokenSource(t.Context(), grant)
		if _, err := s.TokenContext(ctx); err == nil {
			t.Error("the caller waited beyond its deadline")
		}
		mustToken(t, s, "token-1") // the call goes on without its cause
		if len(tr.spans) != 1 || tr.spans[0] != "of the caller" {
			t.Errorf("spans: %v", tr.spans)
		}
		if len(sent) != 1 || len(sent[0]["authorization"]) != 0 || len(sent[0]["traceparent"]) != 1 {
			t.Errorf("the broker was sent %v", sent)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
