package holdfasttest

import (
	"context"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// errAway is what a client sees of a broker that is not there.
var errAway = status.Error(codes.Unavailable, "holdfasttest: the broker is away")

// GetAccessToken implements the contract.
func (b *Broker) GetAccessToken(_ context.Context, req *holdfastv1.GetAccessTokenRequest) (*holdfastv1.GetAccessTokenResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.called(req.GetGrant(), func(c *Calls) { c.Tokens++ })
	if err != nil {
		return nil, err
	}
	if g.refused != nil {
		return nil, refusal(g.refused)
	}
	b.renew(g)
	return b.answer(g), nil
}

// ReportRejectedToken implements the contract.
func (b *Broker) ReportRejectedToken(_ context.Context, req *holdfastv1.ReportRejectedTokenRequest) (*holdfastv1.ReportRejectedTokenResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.called(req.GetGrant(), func(c *Calls) { c.Reports++ })
	if err != nil {
		return nil, err
	}
	verdict := holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_ACCEPTED
	switch {
	case req.GetGeneration() < g.generation:
		verdict = holdfastv1.TokenVerdict_TOKEN_VERDICT_GENERATION_STALE
	case g.generation <= g.dead:
		verdict = holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_REJECTED
		b.rotate(g)
		b.tell()
	}
	return &holdfastv1.ReportRejectedTokenResponse{Verdict: verdict}, nil
}

// WatchAccessToken implements the contract.
func (b *Broker) WatchAccessToken(req *holdfastv1.WatchAccessTokenRequest, stream grpc.ServerStreamingServer[holdfastv1.WatchAccessTokenResponse]) error {
	sent := req.GetToken().GetIfNotGeneration()
	var told *holdfast.Error
	count := func(c *Calls) { c.Watches++ }
	for {
		b.mu.Lock()
		g, err := b.called(req.GetToken().GetGrant(), count)
		if err != nil {
			b.mu.Unlock()
			return err
		}
		count = func(*Calls) {}
		var event *holdfastv1.WatchAccessTokenResponse
		switch {
		case g.refused != nil && g.refused != told:
			event = &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Unavailable{Unavailable: batchError(g.refused)}}
		case g.refused == nil && g.generation > sent:
			event = &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Token{Token: b.answer(g)}}
			sent = g.generation
		}
		told = g.refused
		changed := b.changed
		b.mu.Unlock()
		if event != nil {
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// called counts a call and finds its grant. The caller holds mu.
func (b *Broker) called(s *holdfastv1.GrantSelector, count func(*Calls)) (*grant, error) {
	name := s.GetId()
	if a := s.GetAddress(); a != nil {
		name = strings.TrimSuffix(strings.Join([]string{a.GetTenant(), a.GetSubject(), a.GetProduct(), a.GetName()}, "/"), "/")
	}
	c := b.calls[name]
	count(&c)
	b.calls[name] = c
	if b.away {
		return nil, errAway
	}
	return b.grant(name), nil
}

// renew the token if its end is near. The caller holds mu.
func (b *Broker) renew(g *grant) {
	if b.now().Sub(g.made) >= g.life-g.ahead() {
		b.rotate(g)
		b.tell()
	}
}

// answer with the present token. The caller holds mu.
func (b *Broker) answer(g *grant) *holdfastv1.GetAccessTokenResponse {
	now := b.now()
	expires := g.made.Add(g.life)
	guaranteed := now.Add(grace)
	if expires.Before(guaranteed) {
		guaranteed = expires
	}
	refresh := expires.Add(-g.ahead())
	if guaranteed.Before(refresh) {
		refresh = guaranteed
	}
	return &holdfastv1.GetAccessTokenResponse{
		AccessToken: g.token(g.generation), Generation: g.generation, ApiBaseUrl: g.apiBase, GrantId: g.name,
		ExpiresAt: timestamppb.New(expires), GuaranteedUntil: timestamppb.New(guaranteed),
		RefreshAfter: timestamppb.New(refresh), ServerTime: timestamppb.New(now),
	}
}

// refusal as a broker sends it.
func refusal(e *holdfast.Error) error {
	code := e.Code
	if code == codes.OK {
		code = codeOf(e.Reason)
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: "holdfast", Reason: string(e.Reason), Metadata: metadata(e)}}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if e.Field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: e.Field}}})
	}
	st, err := status.New(code, e.Message).WithDetails(details...)
	if err != nil {
		return status.Error(codes.Internal, "holdfasttest: "+err.Error())
	}
	return st.Err()
}

func batchError(e *holdfast.Error) *holdfastv1.BatchError {
	b := &holdfastv1.BatchError{
		Reason:  holdfastv1.ErrorReason(holdfastv1.ErrorReason_value["ERROR_REASON_"+string(e.Reason)]),
		Message: e.Message, Metadata: metadata(e), Field: e.Field,
	}
	if e.RetryAfter > 0 {
		b.RetryAfter = durationpb.New(e.RetryAfter)
	}
	return b
}

func metadata(e *holdfast.Error) map[string]string {
	m := map[string]string{}
	for name, value := range map[string]string{
		"why": e.Why, "link": e.Link, "sites": e.Sites, "missing": strings.Join(e.Missing, " "), "request_id": e.RequestID,
	} {
		if value != "" {
			m[name] = value
		}
	}
	return m
}

// codeOf a reason, as the contract has it.
func codeOf(r holdfast.Reason) codes.Code {
	switch r {
	case holdfast.GrantNotFound:
		return codes.NotFound
	case holdfast.CallerUnauthenticated:
		return codes.Unauthenticated
	case holdfast.CallerNotAllowed:
		return codes.PermissionDenied
	case holdfast.ConsentRequired, holdfast.SiteNotGranted, holdfast.SiteAmbiguous, holdfast.ScopeNotGranted,
		holdfast.GrantRevoked, holdfast.GrantQuarantined, holdfast.AppPaused:
		return codes.FailedPrecondition
	case holdfast.ProviderRateLimited, holdfast.CallerRateLimited:
		return codes.ResourceExhausted
	case holdfast.InvalidRequest:
		return codes.InvalidArgument
	case holdfast.Internal:
		return codes.Internal
	}
	return codes.Unavailable
}
