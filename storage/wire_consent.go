package storage

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/broker/family"
	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/secret"
)

func toConsentPublic(c *Consent) *storagev1.ConsentPublic {
	return &storagev1.ConsentPublic{Id: c.ID, Status: string(c.Status), ExpiresAt: toTime(c.ExpiresAt)}
}

func toConsentSecret(c *Consent) *storagev1.ConsentSecret {
	return &storagev1.ConsentSecret{
		Address: toAddress(c.Address), App: c.App, Scopes: c.Scopes, CreatedAt: toTime(c.CreatedAt),
		StartedBy: c.StartedBy, ReturnUrl: c.ReturnURL, StateHash: c.StateHash, CookieHash: c.CookieHash,
		Verifier: c.Verifier.Reveal(), AttemptId: c.AttemptID, Pending: toPending(c.Pending),
		Account: c.Account, Detail: c.Detail,
	}
}

func toPending(p *PendingFamily) *storagev1.PendingFamily {
	if p == nil {
		return nil
	}
	return &storagev1.PendingFamily{
		RefreshToken: p.Pair.Refresh.Reveal(), AccessToken: p.Pair.Access.Reveal(),
		ExpiresIn: durationpb.New(p.Pair.ExpiresIn), Scopes: p.Pair.Scopes,
		ReceivedAt: toTime(p.ReceivedAt), Account: p.Account, Sites: toSites(p.Sites),
		LostScopes: p.LostScopes, LostSites: toSites(p.LostSites),
	}
}

func fromPending(p *storagev1.PendingFamily) *PendingFamily {
	if p == nil {
		return nil
	}
	return &PendingFamily{
		Pair: family.Pair{
			Refresh: secret.New(p.GetRefreshToken()), Access: secret.New(p.GetAccessToken()),
			ExpiresIn: p.GetExpiresIn().AsDuration(), Scopes: p.GetScopes(),
		},
		ReceivedAt: fromTime(p.GetReceivedAt()), Account: p.GetAccount(), Sites: fromSites(p.GetSites()),
		LostScopes: p.GetLostScopes(), LostSites: fromSites(p.GetLostSites()),
	}
}

func (s *Store) openConsent(it Item) (Consent, error) {
	var p storagev1.ConsentPublic
	var x storagev1.ConsentSecret
	err := openPublic(it, &p)
	if err == nil && p.GetId() != it.Key.ID {
		err = fmt.Errorf("it is the record of %s", p.GetId())
	}
	if err == nil {
		err = s.openSecret(it, &x)
	}
	if err != nil {
		return Consent{}, corrupt("consent "+it.Key.ID, err)
	}
	return Consent{
		ID: p.GetId(), Address: fromAddress(x.GetAddress()), App: x.GetApp(), Scopes: x.GetScopes(),
		Status: ConsentStatus(p.GetStatus()), CreatedAt: fromTime(x.GetCreatedAt()), ExpiresAt: fromTime(p.GetExpiresAt()),
		StartedBy: x.GetStartedBy(), ReturnURL: x.GetReturnUrl(), StateHash: x.GetStateHash(), CookieHash: x.GetCookieHash(),
		Verifier: secret.New(x.GetVerifier()), AttemptID: x.GetAttemptId(), Pending: fromPending(x.GetPending()),
		Account: x.GetAccount(), Detail: x.GetDetail(), Version: it.Version,
	}, nil
}

func (s *Store) sealConsent(c *Consent) (Change, error) {
	if c.ID == "" {
		return Change{}, errors.New("a consent without an id cannot be stored")
	}
	return s.sealChange(Key{KindConsent, c.ID}, c.Version, toConsentPublic(c), toConsentSecret(c))
}
