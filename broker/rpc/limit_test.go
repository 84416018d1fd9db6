package rpc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// slowly gives everybody one call a second: a clock that stands still gives nobody more than a burst.
func slowly(c *Config) {
	stands := time.Now()
	c.Now = func() time.Time { return stands }
	c.Limits = Limits{Caller: Rate{1, 100}, Callers: map[string]Rate{identity.UnmappedPrefix + "operator": {1, 150}}}
}

func TestCallerBeyondItsRateIsRefusedAndTheOthersAreNot(t *testing.T) {
	r := newRig(t, slowly)
	r.broker.allowAll = true
	greedy := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	for i := range 100 {
		if _, err := greedy.GetAccessToken(t.Context(), hotRequest()); err != nil {
			t.Fatalf("call %d of the burst: %v", i+1, err)
		}
	}
	_, err := greedy.GetAccessToken(t.Context(), hotRequest())
	info, retry, _ := details(err)
	if status.Code(err) != codes.ResourceExhausted || info.GetReason() != string(broker.ReasonCallerRateLimited) {
		t.Fatalf("beyond the burst: %v", err)
	}
	if d := retry.GetRetryDelay().AsDuration(); d <= 0 || d > time.Second {
		t.Errorf("RetryInfo says %v at a rate of one a second", d)
	}
	if info.GetMetadata()["limit"] != "caller_rate" || !strings.Contains(err.Error(), "limits.caller_rate") {
		t.Errorf("the refusal does not say which limit, and where it is configured: %v %v", err, info.GetMetadata())
	}
	if calls, _, _ := r.broker.last(); calls != 100 {
		t.Errorf("the broker saw %d calls", calls)
	}
	other := holdfastv1.NewAdminServiceClient(r.dial("operator"))
	for i := range 150 {
		if _, err := other.GetStatus(t.Context(), &holdfastv1.GetStatusRequest{}); err != nil {
			t.Fatalf("an operator with a rate of its own, call %d: %v", i+1, err)
		}
	}
	if got := strings.Count(r.log.String(), "asks for more than it may"); got != 1 {
		t.Errorf("the log says %d times that a caller is refused", got)
	}
}

func TestEachRequestOfABatchCounts(t *testing.T) {
	r := newRig(t, slowly)
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	batch := &holdfastv1.BatchGetAccessTokensRequest{}
	for range 60 {
		batch.Requests = append(batch.Requests, hotRequest())
	}
	if _, err := client.BatchGetAccessTokens(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if _, err := client.BatchGetAccessTokens(t.Context(), batch); status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("the second batch of 60 in a burst of 100: %v", err)
	}
	for i := range 40 {
		if _, err := client.GetAccessToken(t.Context(), hotRequest()); err != nil {
			t.Fatalf("call %d after the refused batch, which must not count: %v", i+1, err)
		}
	}
}

func TestCallsThatReadManyRecordsCountAsABatch(t *testing.T) {
	for name, call := range map[string]func(context.Context, grpc.ClientConnInterface) error{
		"ListMyGrants": func(ctx context.Context, c grpc.ClientConnInterface) error {
			_, err := holdfastv1.NewTokenServiceClient(c).ListMyGrants(ctx, &holdfastv1.ListMyGrantsRequest{})
			return err
		},
		"ListGrants": func(ctx context.Context, c grpc.ClientConnInterface) error {
			_, err := holdfastv1.NewAdminServiceClient(c).ListGrants(ctx, &holdfastv1.ListGrantsRequest{})
			return err
		},
		"WhoHad": func(ctx context.Context, c grpc.ClientConnInterface) error {
			request := &holdfastv1.WhoHadRequest{Token: &holdfastv1.WhoHadRequest_Fingerprint{Fingerprint: "hf1:00000000"}}
			_, err := holdfastv1.NewAdminServiceClient(c).WhoHad(ctx, request)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, slowly)
			conn := r.dial(mapped)
			if err := call(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
			if err := call(t.Context(), conn); status.Code(err) != codes.ResourceExhausted {
				t.Errorf("the second in a burst of 100: %v", err)
			}
		})
	}
}

func TestWhatIsNoRequestCountsAsABatch(t *testing.T) {
	for _, req := range []proto.Message{&holdfastv1.GetAccessTokenRequest{}, &holdfastv1.BatchGetAccessTokensRequest{}, &holdfastv1.GetStatusRequest{}} {
		if got := cost(req); got != 1 {
			t.Errorf("an empty %T costs %d", req, got)
		}
		if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(undecodableBytes)}, req); err != nil || decoded(req) == nil {
			t.Fatalf("%T: error %v, refused %v", req, err, decoded(req))
		}
		if got := cost(req); got != LeastBurst {
			t.Errorf("a %T out of bytes that are none costs %d", req, got)
		}
	}
}

func TestRefusedCallsCountToo(t *testing.T) {
	for name, request := range map[string]*holdfastv1.GetAccessTokenRequest{"invalid": {}, "not allowed": hotRequest()} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, slowly)
			client := holdfastv1.NewTokenServiceClient(r.dial(fmt.Sprint("unmapped-", name)))
			limited := 0
			for range 120 {
				_, err := client.GetAccessToken(t.Context(), request)
				if status.Code(err) == codes.ResourceExhausted {
					limited++
				} else if err == nil {
					t.Fatal("answered")
				}
			}
			if limited != 20 {
				t.Errorf("%d of 120 refused calls were held back by a burst of 100", limited)
			}
		})
	}
}

func TestSenselessLimitsAreRefused(t *testing.T) {
	for name, l := range map[string]Limits{
		"no burst":                  {Caller: Rate{PerSecond: 1}},
		"a batch would never fit":   {Caller: Rate{1, 99}},
		"negative":                  {Caller: Rate{-1, 100}},
		"too many for a nanosecond": {Callers: map[string]Rate{"a": {GreatestRate + 1, 100}}},
	} {
		if err := l.applyDefaults(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
