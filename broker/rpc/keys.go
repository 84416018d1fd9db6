package rpc

import (
	"context"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// KeysBroker is what AdminService asks of the broker about its data keys. Policy
// and audit happen behind it.
type KeysBroker interface {
	// RotateKeys begins a rotation, or returns the one that runs.
	RotateKeys(ctx context.Context, c broker.Caller) (*broker.KeyRotation, error)
}

// RotateKeys implements holdfastv1.AdminServiceServer.
func (s *adminService) RotateKeys(ctx context.Context, _ *holdfastv1.RotateKeysRequest) (*holdfastv1.RotateKeysResponse, error) {
	r, err := s.keys.RotateKeys(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	return &holdfastv1.RotateKeysResponse{Rotation: rotationOut(r)}, nil
}

// rotationOut returns nil for nil: no rotation was begun.
func rotationOut(r *broker.KeyRotation) *holdfastv1.KeyRotation {
	if r == nil {
		return nil
	}
	return &holdfastv1.KeyRotation{
		StartedAt: timeOut(r.StartedAt), EndedAt: timeOut(r.EndedAt), Resealed: r.Resealed, Total: r.Total, Stuck: r.Stuck,
	}
}
