package rpc

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestWhatIsRefusedAtTheEdgeIsRecordedIfItsCallerIsKnown(t *testing.T) {
	rows := []struct {
		name, caller string
		do           func(*rig, *healthAndTokens)
		want         []string
	}{
		{"invalid", mapped, func(r *rig, c *healthAndTokens) {
			_, _ = c.tokens.GetAccessToken(t.Context(), &holdfastv1.GetAccessTokenRequest{})
		}, []string{mapped + " x509 GetAccessToken INVALID_REQUEST "}},
		{"beyond its rate", mapped, func(r *rig, c *healthAndTokens) {
			for range 101 {
				_, _ = c.tokens.GetAccessToken(t.Context(), hotRequest())
			}
		}, []string{mapped + " x509 GetAccessToken CALLER_RATE_LIMITED caller_rate"}},
		{"a call that is not for it", "some.example.com", func(r *rig, c *healthAndTokens) {
			_, _ = c.health.Check(t.Context(), &healthpb.HealthCheckRequest{})
		}, []string{"(unmapped) some.example.com x509 grpc.health.v1.Health/Check CALLER_NOT_ALLOWED "}},
		{"a stream that is not for it", "some.example.com", func(r *rig, c *healthAndTokens) {
			s, err := c.health.Watch(t.Context(), &healthpb.HealthCheckRequest{})
			if err == nil {
				_, _ = s.Recv()
			}
		}, []string{"(unmapped) some.example.com x509 grpc.health.v1.Health/Watch CALLER_NOT_ALLOWED "}},
		{"what the broker refuses itself", "some.example.com", func(r *rig, c *healthAndTokens) {
			_, _ = c.tokens.GetAccessToken(t.Context(), hotRequest())
		}, nil},
		{"nobody", "", func(r *rig, c *healthAndTokens) {
			_, _ = c.tokens.GetAccessToken(t.Context(), hotRequest())
		}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, slowly)
			conn := r.dial(row.caller)
			row.do(r, &healthAndTokens{healthpb.NewHealthClient(conn), holdfastv1.NewTokenServiceClient(conn)})
			if d := cmp.Diff(row.want, r.broker.refusals()); d != "" {
				t.Error(d)
			}
		})
	}
}

type healthAndTokens struct {
	health healthpb.HealthClient
	tokens holdfastv1.TokenServiceClient
}

func TestARefusalThatCannotBeRecordedSaysSo(t *testing.T) {
	r := newRig(t)
	r.broker.unrecorded = &broker.Error{Reason: broker.ReasonAuditUnavailable, Message: "the disk is full"}
	_, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).GetAccessToken(t.Context(), &holdfastv1.GetAccessTokenRequest{})
	if info, _, _ := details(err); info.GetReason() != string(broker.ReasonAuditUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestAKnownCallerWithoutAPlaceIsRecorded(t *testing.T) {
	for limit, limits := range map[string]Limits{
		"connections":            {Connections: 1},
		"connections_per_caller": {Connections: 2, ConnectionsPerCaller: 1},
	} {
		t.Run(limit, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Limits = limits })
			if _, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).GetAccessToken(t.Context(), hotRequest()); err != nil {
				t.Fatal(err)
			}
			if _, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).GetAccessToken(t.Context(), hotRequest()); err == nil {
				t.Fatal("there was a place for a second connection")
			}
			// It is recorded once the connection is closed, which the client sees first.
			for deadline := time.Now().Add(10 * time.Second); len(r.broker.refusals()) == 0 && time.Now().Before(deadline); {
				<-time.After(time.Millisecond)
			}
			if d := cmp.Diff([]string{mapped + " x509 (connection) CALLER_RATE_LIMITED " + limit}, r.broker.refusals()); d != "" {
				t.Error(d)
			}
		})
	}
}

// One stolen certificate must not keep the others out.
func TestOneCallerDoesNotTakeEveryPlace(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.Connections = 4 })
	served := 0
	for range 4 {
		if _, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).GetAccessToken(t.Context(), hotRequest()); err == nil {
			served++
		}
	}
	if served != 2 {
		t.Errorf("%d connections of one caller stand among four places, want half", served)
	}
	_, err := holdfastv1.NewTokenServiceClient(r.dial("another")).GetAccessToken(t.Context(), hotRequest())
	if info, _, _ := details(err); info.GetReason() != string(broker.ReasonCallerNotAllowed) {
		t.Errorf("another caller is answered %v, want that nobody configured it", err)
	}
}

// unmapped has shown a token of nobody whom the configuration names.
type unmapped struct{}

func (unmapped) Identity(time.Time) (*identity.Identity, error) {
	return &identity.Identity{Caller: broker.Caller{Name: "ci:build", Kind: broker.CallerJWT}}, nil
}

func TestWhomNobodyConfiguredIsToldSoWhateverItShows(t *testing.T) {
	trust, err := identity.New(identity.Config{})
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{trust: trust}
	err = e.admit(&call{Context: peer.NewContext(t.Context(), &peer.Peer{AuthInfo: &connection{peer: unmapped{}}})}, false, time.Now())
	if err == nil || !strings.Contains(err.Error(), "ci:build") || strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}
