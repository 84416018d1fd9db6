package storage

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/broker/family"
	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/secret"
)

// Kept is what a slot of the spill holds: either the settled outcome of a
// rotation (GrantID, Spend, Pair) or the new family of a consent (ConsentID,
// AttemptID of its exchange in Spend, Pending).
type Kept struct {
	GrantID string
	// Spend as far as settling a pair needs it: without the token that was sent,
	// the guard's time and the reason.
	Spend family.Spend
	Pair  family.Pair

	ConsentID string
	Pending   *PendingFamily
}

func toSpill(k *Kept) *storagev1.SpillEntry {
	sp, p := &k.Spend, k.Pair
	if p.Refresh.Equal(sp.Token) { // what was sent is not written, so that it must be known now that it stays
		p.Refresh = secret.String{}
	}
	return &storagev1.SpillEntry{
		GrantId: k.GrantID, AttemptId: sp.AttemptID, Fence: sp.Fence, Generation: sp.Generation, FamilyFirst: sp.FamilyFirst,
		Kind: storagev1.AttemptKind(sp.Kind), Announced: toTime(sp.Announced),
		RefreshToken: p.Refresh.Reveal(), AccessToken: p.Access.Reveal(), ExpiresIn: durationpb.New(p.ExpiresIn), Scopes: p.Scopes,
		ConsentId: k.ConsentID, Pending: toPending(k.Pending),
	}
}

func fromSpill(x *storagev1.SpillEntry) Kept {
	return Kept{
		GrantID: x.GetGrantId(),
		Spend: family.Spend{
			AttemptID: x.GetAttemptId(), Fence: x.GetFence(), Generation: x.GetGeneration(), FamilyFirst: x.GetFamilyFirst(),
			Kind: family.AttemptKind(x.GetKind()), Announced: fromTime(x.GetAnnounced()),
		},
		Pair: family.Pair{
			Refresh: secret.New(x.GetRefreshToken()), Access: secret.New(x.GetAccessToken()),
			ExpiresIn: x.GetExpiresIn().AsDuration(), Scopes: x.GetScopes(),
		},
		ConsentID: x.GetConsentId(), Pending: fromPending(x.GetPending()),
	}
}
