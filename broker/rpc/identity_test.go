package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func byAddress() *holdfastv1.GrantSelector { return hotRequest().GetGrant() }

// validRequests has a valid request for each rpc of the contract, so that a
// refusal can only come from who asks.
var validRequests = map[string]proto.Message{
	holdfastv1.TokenService_GetAccessToken_FullMethodName:       hotRequest(),
	holdfastv1.TokenService_BatchGetAccessTokens_FullMethodName: &holdfastv1.BatchGetAccessTokensRequest{Requests: []*holdfastv1.GetAccessTokenRequest{hotRequest()}},
	holdfastv1.TokenService_WatchAccessToken_FullMethodName:     &holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{Grant: byAddress()}},
	holdfastv1.TokenService_ReportRejectedToken_FullMethodName:  &holdfastv1.ReportRejectedTokenRequest{Grant: byAddress(), Generation: 1, HttpStatus: 401},
	holdfastv1.TokenService_ListMyGrants_FullMethodName:         &holdfastv1.ListMyGrantsRequest{},
	holdfastv1.ConsentService_StartConsent_FullMethodName:       &holdfastv1.StartConsentRequest{Address: byAddress().GetAddress()},
	holdfastv1.ConsentService_GetConsent_FullMethodName:         &holdfastv1.GetConsentRequest{ConsentId: "cns_1"},
	holdfastv1.AdminService_ListGrants_FullMethodName:           &holdfastv1.ListGrantsRequest{},
	holdfastv1.AdminService_GetGrant_FullMethodName:             &holdfastv1.GetGrantRequest{Grant: byAddress()},
	holdfastv1.AdminService_PurgeGrant_FullMethodName:           &holdfastv1.PurgeGrantRequest{Grant: byAddress()},
	holdfastv1.AdminService_RevokeGrant_FullMethodName:          &holdfastv1.RevokeGrantRequest{Grant: byAddress()},
	holdfastv1.AdminService_StartReauth_FullMethodName:          &holdfastv1.StartReauthRequest{Grant: byAddress()},
	holdfastv1.AdminService_ForceRefresh_FullMethodName:         &holdfastv1.ForceRefreshRequest{Grant: byAddress()},
	holdfastv1.AdminService_AdoptGrants_FullMethodName:          &holdfastv1.AdoptGrantsRequest{Mode: holdfastv1.AdoptMode_ADOPT_MODE_ADOPT},
	holdfastv1.AdminService_ExplainAccess_FullMethodName:        &holdfastv1.ExplainAccessRequest{Caller: "svc", Action: "draw"},
	holdfastv1.AdminService_ListApps_FullMethodName:             &holdfastv1.ListAppsRequest{},
	holdfastv1.AdminService_PauseApp_FullMethodName:             &holdfastv1.PauseAppRequest{AppId: "jira-app"},
	holdfastv1.AdminService_RotateKeys_FullMethodName:           &holdfastv1.RotateKeysRequest{},
	holdfastv1.AdminService_ResumeApp_FullMethodName:            &holdfastv1.ResumeAppRequest{AppId: "jira-app"},
	holdfastv1.AdminService_WhoHad_FullMethodName:               &holdfastv1.WhoHadRequest{Token: &holdfastv1.WhoHadRequest_Fingerprint{Fingerprint: "hf1:abcdef"}},
	holdfastv1.AdminService_GetStatus_FullMethodName:            &holdfastv1.GetStatusRequest{},
}

// callAny calls any rpc of any service, unary or stream, and returns its error.
// Answers are read as Empty: their fields are unknown to it.
func callAny(ctx context.Context, conn *grpc.ClientConn, full string, info grpc.MethodInfo, req proto.Message) error {
	if !info.IsClientStream && !info.IsServerStream {
		return conn.Invoke(ctx, full, req, &emptypb.Empty{})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	desc := &grpc.StreamDesc{ClientStreams: info.IsClientStream, ServerStreams: info.IsServerStream}
	stream, err := conn.NewStream(ctx, desc, full)
	if err != nil {
		return err
	}
	// A refused stream may fail the send with EOF; the reason comes from RecvMsg.
	_ = stream.SendMsg(req)
	return stream.RecvMsg(&emptypb.Empty{})
}

// foreignRequest returns a request that a service of grpc's own answers.
func foreignRequest(service string) proto.Message {
	if strings.HasPrefix(service, "grpc.reflection.") {
		return &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	}
	return &emptypb.Empty{}
}

func TestNoRpcOfAnyServiceEscapesIdentity(t *testing.T) {
	r := newRig(t)
	nobody, stranger, known := r.dial(""), r.dial("stranger.example.com"), r.dial(mapped)
	for service, info := range r.server.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			full := "/" + service + "/" + m.Name
			t.Run(full, func(t *testing.T) {
				req, listed := validRequests[full]
				if ours := isOurs(service); ours && !listed {
					t.Fatalf("validRequests has no row for it: add one, so that this test covers the new rpc")
				} else if !ours {
					req = foreignRequest(service)
				}
				if s := status.Convert(callAny(t.Context(), nobody, full, m, req)); s.Code() != codes.Unauthenticated ||
					!strings.Contains(s.Message(), "shows no client certificate") {
					t.Errorf("without a certificate: %v, want Unauthenticated", s)
				}
				if err := callAny(t.Context(), stranger, full, m, req); status.Code(err) != codes.PermissionDenied {
					t.Errorf("with an unmapped certificate: %v, want PermissionDenied", err)
				}
				if err := callAny(t.Context(), known, full, m, req); err != nil {
					t.Errorf("with a mapped certificate: %v", err)
				}
			})
		}
	}
}

func TestCallerIsNamedOnceAndCannotBeForged(t *testing.T) {
	r := newNamedRig(t, func(cert *x509.Certificate) (string, bool) {
		switch cert.Subject.CommonName {
		case mapped:
			return "sync", true
		case "nameless.example.com":
			return "", true
		case "unnamed.example.com":
			return "", false
		}
		return "sync", false // the name of a configured caller, but not ok
	})
	r.broker.allowAll = true
	for _, row := range []struct{ certificate, want string }{
		{mapped, "sync"},
		{"other.example.com", "(unmapped) sync"},
		{"unnamed.example.com", "(unmapped) unnamed.example.com"},
		{"nameless.example.com", "(unmapped) nameless.example.com"},
	} {
		client := holdfastv1.NewTokenServiceClient(r.dial(row.certificate))
		if _, err := client.GetAccessToken(t.Context(), hotRequest()); err != nil {
			t.Fatal(err)
		}
		if _, c, _ := r.broker.last(); c.Name != row.want || c.NotAfter.IsZero() || c.Kind != broker.CallerX509 {
			t.Errorf("certificate %s made caller %+v, want name %q and an end", row.certificate, c, row.want)
		}
	}
}

func TestForeignAuthorityIsNoIdentity(t *testing.T) {
	for _, auth := range []tls.ClientAuthType{tls.NoClientCert, tls.RequireAnyClientCert, tls.RequestClientCert} {
		r := newRig(t, func(c *Config) { c.TLS.ClientAuth = auth })
		foreign := newAuthority(t)
		foreign.pool = r.ca.pool // trusts the real server, shows a foreign certificate
		r.ca = foreign
		_, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).GetAccessToken(t.Context(), hotRequest())
		// Either the handshake fails or the call is refused; it never gets in.
		if code := status.Code(err); code != codes.Unauthenticated && code != codes.Unavailable {
			t.Errorf("client auth %v: a foreign certificate got %v", auth, err)
		}
		if n, _, _ := r.broker.last(); n != 0 {
			t.Errorf("client auth %v: the broker was called", auth)
		}
	}
}

func TestIdentityEndsOnAStandingConnection(t *testing.T) {
	r := newRig(t)
	conn := r.dial(mapped) // its certificate ends in an hour
	client := holdfastv1.NewTokenServiceClient(conn)
	if _, err := client.GetAccessToken(t.Context(), hotRequest()); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(59 * time.Minute)
	if _, err := client.GetAccessToken(t.Context(), hotRequest()); err != nil {
		t.Errorf("refused before its end: %v", err)
	}
	r.clock.advance(2 * time.Minute)
	_, err := client.GetAccessToken(t.Context(), hotRequest())
	if s := status.Convert(err); s.Code() != codes.Unauthenticated || !strings.Contains(s.Message(), "ended at") {
		t.Errorf("after its end: %v", err)
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stream after its end: %v", err)
	}
}

func TestAStandingConnectionEndsWithTheAuthorityThatVouchedForIt(t *testing.T) {
	r := newRig(t)
	conn := r.dial(mapped)
	client := holdfastv1.NewTokenServiceClient(conn)
	ask := func() error {
		_, err := client.GetAccessToken(t.Context(), hotRequest())
		return err
	}
	other := newAuthority(t)
	both := other.pool.Clone()
	both.AddCert(r.ca.cert)
	for _, step := range []struct {
		name  string
		roots *x509.CertPool
		want  codes.Code
	}{
		{"the bundle of the handshake", nil, codes.OK},
		{"another authority comes to it", both, codes.OK},
		{"its own authority goes", other.pool, codes.Unauthenticated},
		{"its own authority comes back", r.ca.pool, codes.OK},
	} {
		if step.roots != nil {
			r.config.Trust.SetRoots(step.roots)
		}
		err := ask()
		if status.Code(err) != step.want {
			t.Fatalf("%s: %v, want %v", step.name, err, step.want)
		}
		if err != nil && !strings.Contains(err.Error(), "connect again with one that the broker's client CA signed") {
			t.Errorf("%s: the refusal does not say what to do: %v", step.name, err)
		}
	}
	if n, _, _ := r.broker.last(); n != 3 {
		t.Errorf("the broker was called %d times, want 3", n)
	}
}
