package rpc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestRequestIDIsTheClientsOwnIfItIsSane(t *testing.T) {
	r := newRig(t)
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	seen := map[string]bool{}
	for _, row := range []struct {
		ids  []string
		keep bool
	}{
		{[]string{"0af7651916cd43dd8448eb211c80319c"}, true},
		{[]string{"a.b_C:d-1"}, true},
		{[]string{strings.Repeat("a", 64)}, true},
		{[]string{strings.Repeat("a", 65)}, false},
		{[]string{""}, false},
		{[]string{"two words"}, false},
		{[]string{`{"forged":1}`}, false},
		{[]string{"one", "two"}, false},
		{nil, false},
		{nil, false},
	} {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"x-request-id": row.ids})
		if _, err := client.GetAccessToken(ctx, hotRequest()); err != nil {
			t.Fatal(err)
		}
		_, c, _ := r.broker.last()
		if row.keep && c.RequestID != row.ids[0] {
			t.Errorf("%q became %q", row.ids, c.RequestID)
		}
		if !row.keep && (!saneID(c.RequestID) || len(c.RequestID) != 16) {
			t.Errorf("%q became %q, want 16 fresh characters", row.ids, c.RequestID)
		}
		if seen[c.RequestID] {
			t.Errorf("%q was given twice", c.RequestID)
		}
		seen[c.RequestID] = true
	}
}

// counts returns the calls of a method by reason, and how many the histogram has.
func counts(t *testing.T, reg *prometheus.Registry, method string) (byReason map[string]float64, observed uint64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byReason = map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["method"] != method {
				continue
			}
			if f.GetName() == "holdfast_rpc_duration_seconds" {
				observed = m.GetHistogram().GetSampleCount()
			} else if v := m.GetCounter().GetValue(); v != 0 {
				byReason[labels["reason"]] = v
			}
		}
	}
	return byReason, observed
}

func TestEveryCallIsCountedByItsReason(t *testing.T) {
	r := newRig(t)
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	call := func(hook func(context.Context) error, req *holdfastv1.GetAccessTokenRequest) {
		r.broker.hook = hook
		_, _ = client.GetAccessToken(t.Context(), req)
	}
	call(nil, hotRequest())
	call(nil, hotRequest())
	call(nil, &holdfastv1.GetAccessTokenRequest{})
	call(func(context.Context) error { return &broker.Error{Reason: broker.ReasonAppPaused} }, hotRequest())
	call(func(context.Context) error { return errors.New("x") }, hotRequest())
	call(func(context.Context) error { panic("x") }, hotRequest())
	_, _ = holdfastv1.NewTokenServiceClient(r.dial("")).GetAccessToken(t.Context(), hotRequest())
	_, _ = healthpb.NewHealthClient(r.dial(mapped)).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "unknown"})

	got, observed := counts(t, r.reg, "holdfast.v1.TokenService/GetAccessToken")
	want := map[string]float64{"OK": 2, "INVALID_REQUEST": 1, "APP_PAUSED": 1, "INTERNAL": 2, "CALLER_UNAUTHENTICATED": 1}
	for reason, n := range want {
		if got[reason] != n {
			t.Errorf("%s counted %v times, want %v", reason, got[reason], n)
		}
	}
	if len(got) != len(want) || observed != 7 {
		t.Errorf("counted %v, observed %d of 7", got, observed)
	}
	if got, _ := counts(t, r.reg, "grpc.health.v1.Health/Check"); got["OTHER"] != 1 {
		t.Errorf("health counted %v", got)
	}
}

func TestClientThatLeavesIsNoInternalError(t *testing.T) {
	r := newRig(t)
	entered := make(chan struct{})
	left := make(chan struct{})
	r.broker.hook = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		defer close(left)
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).GetAccessToken(ctx, hotRequest())
	if status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	<-left
	stop, stopCancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer stopCancel()
	if err := r.server.Stop(stop); err != nil { // waits for the handler's end, so for its count
		t.Fatal(err)
	}
	got, _ := counts(t, r.reg, "holdfast.v1.TokenService/GetAccessToken")
	if got["CANCELED"] != 1 || got["INTERNAL"] != 0 || r.log.String() != "" {
		t.Errorf("counted %v, logged %q", got, r.log.String())
	}
}

func TestHealthFollowsSetServing(t *testing.T) {
	r := newRig(t)
	client := healthpb.NewHealthClient(r.dial(mapped))
	for _, service := range []string{"", "holdfast.v1.TokenService"} {
		for _, ready := range []bool{false, true, false} {
			r.server.SetServing(ready)
			got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
			if err != nil || (got.GetStatus() == healthpb.HealthCheckResponse_SERVING) != ready {
				t.Errorf("%q, serving %v: %v, %v", service, ready, got, err)
			}
		}
	}
	_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "unknown"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
}

func TestFreshServerIsNotServing(t *testing.T) {
	r := newRig(t)
	got, err := healthpb.NewHealthClient(r.dial(mapped)).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v, %v", got, err)
	}
}

func TestStopLetsCallsFinish(t *testing.T) {
	r := newRig(t)
	entered, release := make(chan struct{}), make(chan struct{})
	r.broker.hook = func(context.Context) error { close(entered); <-release; return nil }
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	result := make(chan error, 1)
	go func() {
		_, err := client.GetAccessToken(context.Background(), hotRequest())
		result <- err
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.server.Stop(context.Background()) }()
	close(release)
	if err := <-result; err != nil {
		t.Errorf("the call under way failed: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopDoesNotWaitForHealthWatches(t *testing.T) {
	r := newRig(t)
	r.server.SetServing(true)
	watch, err := healthpb.NewHealthClient(r.dial(mapped)).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.server.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestStopCancelsCallsAtItsDeadline(t *testing.T) {
	r := newRig(t)
	entered := make(chan struct{})
	r.broker.hook = func(ctx context.Context) error { close(entered); <-ctx.Done(); return ctx.Err() }
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	result := make(chan error, 1)
	go func() {
		_, err := client.GetAccessToken(context.Background(), hotRequest())
		result <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.server.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	if err := <-result; err == nil {
		t.Error("the call succeeded")
	}
}

func TestConfigWithoutWhoMayCallIsRefused(t *testing.T) {
	whole := newRig(t).config
	whole.Metrics = nil
	for _, row := range []struct {
		name   string
		remove func(*Config)
	}{{"no TLS", func(c *Config) { c.TLS = nil }}, {"no trust", func(c *Config) { c.Trust = nil }}} {
		c := whole
		row.remove(&c)
		if _, err := NewServer(c); err == nil {
			t.Errorf("%s: accepted", row.name)
		}
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	r := newRig(t)
	if _, err := NewServer(r.config); err == nil || !strings.Contains(err.Error(), "registering rpc metrics") {
		t.Errorf("a second server on the same registry: %v", err)
	}
}
