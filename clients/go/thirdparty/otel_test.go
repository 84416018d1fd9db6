package thirdparty

import (
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

func TestTheCallToTheBrokerIsAChildOfTheCallersSpan(t *testing.T) {
	recorded := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorded))
	a := dev.open(t, jiraGrant, holdfast.WithGRPC(grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(provider)))))
	ctx, span := provider.Tracer("test").Start(t.Context(), "sync")
	if _, err := a.source.TokenContext(ctx); err != nil {
		t.Fatal(err)
	}
	span.End()
	for _, s := range recorded.Ended() {
		if s.Name() == "holdfast.v1.TokenService/GetAccessToken" {
			if s.Parent().SpanID() != span.SpanContext().SpanID() {
				t.Errorf("the call's parent is %v, want the caller's span", s.Parent().SpanID())
			}
			return
		}
	}
	t.Errorf("the call was not recorded: %v", recorded.Ended())
}
