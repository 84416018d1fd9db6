package rpc

import (
	"context"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/secret"
)

// RecordBroker is what AdminService asks of the broker about its audit record.
// Policy and audit happen behind it.
type RecordBroker interface {
	// WhoHad searches the record; it blocks as long as that takes, or until ctx ends.
	WhoHad(ctx context.Context, c broker.Caller, q broker.WhoHadQuery) (*broker.WhoHadAnswer, error)
}

// WhoHad implements holdfastv1.AdminServiceServer.
func (s *adminService) WhoHad(ctx context.Context, req *holdfastv1.WhoHadRequest) (*holdfastv1.WhoHadResponse, error) {
	q := broker.WhoHadQuery{Fingerprint: req.GetFingerprint(), Token: secret.New(req.GetAccessToken()), Limit: int(req.GetLimit())}
	if g := req.GetGrant(); g != nil {
		q.ID, q.Address = selected(g)
	}
	if t := req.GetSince(); t != nil {
		q.Since = t.AsTime()
	}
	found, err := s.record.WhoHad(ctx, callerOf(ctx), q)
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.WhoHadResponse{More: found.More, SearchedFrom: timeOut(found.SearchedFrom), Fingerprint: found.Fingerprint}
	for i := range found.HandOuts {
		h := &found.HandOuts[i]
		out.HandOuts = append(out.HandOuts, &holdfastv1.HandOut{
			HandedOutAt: timeOut(h.At), Caller: h.Caller, Rule: h.Rule, Grant: h.Grant, GrantId: h.GrantID, Generation: h.Generation,
			CallerKind: holdfastv1.CallerKind(enumNumber(holdfastv1.CallerKind_value, "CALLER_KIND_", string(h.CallerKind))),
			Purpose:    h.Purpose, RequestId: h.RequestID, Fingerprint: h.Fingerprint, AliveUntil: timeOut(h.AliveUntil),
		})
	}
	return out, nil
}
