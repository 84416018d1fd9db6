package holdfast

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// fakeBroker answers as a broker of one grant would. Its clock is skewed.
type fakeBroker struct {
	holdfastv1.UnimplementedTokenServiceServer

	mu         sync.Mutex // guards all below
	generation uint64
	grantID    string
	life       time.Duration // of a token
	guarantee  time.Duration
	ahead      time.Duration // refresh_after before the expiry
	rotated    time.Time
	skew       time.Duration // of its clock
	apiBase    string
	fail       error         // of GetAccessToken
	delay      time.Duration // before any answer
	stuck      bool          // refreshes fail: no rotation when it is due
	verdict    holdfastv1.TokenVerdict
	reportFail error
	// reportDelay before the answer to a report; set before the first.
	reportDelay time.Duration

	stream    *watching // the one opened last
	watchFail error

	watches  []*holdfastv1.WatchAccessTokenRequest
	requests []*holdfastv1.GetAccessTokenRequest
	reports  []*holdfastv1.ReportRejectedTokenRequest
}

func newFakeBroker() *fakeBroker {
	return &fakeBroker{
		generation: 1, life: time.Hour, guarantee: 10 * time.Minute, ahead: 5 * time.Minute, rotated: time.Now(),
		apiBase: "https://api.example.com/ex/jira/cloud-1",
		verdict: holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_REJECTED,
	}
}

func (b *fakeBroker) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// calls so far.
func (b *fakeBroker) calls() (gets, reports int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.requests), len(b.reports)
}

// rotate to the next generation. The caller holds mu.
func (b *fakeBroker) rotate() { b.generation++; b.rotated = time.Now() }

func (b *fakeBroker) GetAccessToken(ctx context.Context, req *holdfastv1.GetAccessTokenRequest) (*holdfastv1.GetAccessTokenResponse, error) {
	b.mu.Lock()
	b.requests = append(b.requests, proto.CloneOf(req))
	delay := b.delay
	b.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	if !b.stuck && time.Since(b.rotated) >= b.life-b.ahead {
		b.rotate()
	}
	return b.answer(), nil
}

// answer with the present token. The caller holds mu.
func (b *fakeBroker) answer() *holdfastv1.GetAccessTokenResponse {
	now := time.Now()
	expires := b.rotated.Add(b.life)
	guaranteed := now.Add(b.guarantee)
	if expires.Before(guaranteed) {
		guaranteed = expires
	}
	refresh := expires.Add(-b.ahead)
	if guaranteed.Before(refresh) {
		refresh = guaranteed
	}
	at := func(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t.Add(b.skew)) }
	return &holdfastv1.GetAccessTokenResponse{
		AccessToken: fmt.Sprintf("token-%d", b.generation), Generation: b.generation, ApiBaseUrl: b.apiBase,
		ExpiresAt: at(expires), GuaranteedUntil: at(guaranteed), RefreshAfter: at(refresh), ServerTime: at(now), GrantId: b.grantID,
	}
}

func (b *fakeBroker) ReportRejectedToken(_ context.Context, req *holdfastv1.ReportRejectedTokenRequest) (*holdfastv1.ReportRejectedTokenResponse, error) {
	if b.reportDelay > 0 {
		pass(b.reportDelay)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports = append(b.reports, proto.CloneOf(req))
	if b.reportFail != nil {
		return nil, b.reportFail
	}
	if b.verdict == holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_REJECTED {
		b.rotate()
	}
	return &holdfastv1.ReportRejectedTokenResponse{Verdict: b.verdict}, nil
}

// refusal as the broker sends it.
func refusal(t *testing.T, code codes.Code, reason Reason, retry time.Duration, metadata map[string]string) error {
	t.Helper()
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: errorDomain, Reason: string(reason), Metadata: metadata}}
	if retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	st, err := status.New(code, "what to do").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// inBubble runs test in virtual time against a broker; everything it starts
// must have ended when it returns, or synctest fails the test.
func inBubble(t *testing.T, test func(t *testing.T, b *fakeBroker, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		broker := newFakeBroker()
		client, stop := connect(t, broker)
		defer stop()
		test(t, broker, client)
	})
}

func connect(t testing.TB, broker *fakeBroker) (*Client, func()) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	holdfastv1.RegisterTokenServiceServer(server, broker)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///broker",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	client := New(conn, 0)
	client.random = func() float64 { return 0 }
	return client, func() {
		if err := client.Close(); err != nil {
			t.Errorf("closing the client: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("closing the connection: %v", err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	}
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }
