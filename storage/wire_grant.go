package storage

import (
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/broker/family"
	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/secret"
)

func toGrantPublic(g *Grant) *storagev1.GrantPublic {
	return &storagev1.GrantPublic{
		Id: g.ID, Address: toAddress(g.Address), App: g.App, Account: g.Account,
		Phase: storagev1.Phase(g.State.Phase), Generation: g.State.Generation, Fence: g.State.Fence, Due: toTime(g.Due),
	}
}

func toGrantSecret(g *Grant) *storagev1.GrantSecret {
	st := &g.State
	return &storagev1.GrantSecret{
		CreatedAt: toTime(g.CreatedAt), Sites: toSites(g.Sites), ReauthAllowed: g.ReauthAllowed,
		FamilyFirst: st.FamilyFirst, FamilyStarted: toTime(st.FamilyStarted), LastExchange: toTime(st.LastExchange),
		RefreshToken: st.Refresh.Reveal(), Access: toAccess(st.Access),
		Attempt: toAttempt(st.Attempt), Doubt: toDoubt(st.Doubt), Alternates: toAlternates(st.Alternates),
		Suspicion: toSuspicion(st.Suspicion), NotBefore: toTime(st.NotBefore), Failures: int64(st.Failures),
		Lapse: string(st.Lapse), EndedAt: toTime(st.EndedAt),
		WarnedIdleDays: uint32(st.WarnedIdle), WarnedAbsoluteDays: uint32(st.WarnedAbsolute), Inquiry: toInquiry(st.Inquiry),
		Reserves: toReserves(st.Reserves), Former: toFormer(st.Former), ProviderRevocation: g.ProviderRevocation,
	}
}

func fromGrant(p *storagev1.GrantPublic, x *storagev1.GrantSecret, v Version) Grant {
	return Grant{
		ID: p.GetId(), Address: fromAddress(p.GetAddress()), App: p.GetApp(), Account: p.GetAccount(),
		CreatedAt: fromTime(x.GetCreatedAt()), Due: fromTime(p.GetDue()), Sites: fromSites(x.GetSites()),
		ReauthAllowed: x.GetReauthAllowed(), ProviderRevocation: x.GetProviderRevocation(), Version: v,
		State: family.State{
			Phase: family.Phase(p.GetPhase()), Generation: p.GetGeneration(), Fence: p.GetFence(),
			FamilyFirst: x.GetFamilyFirst(), FamilyStarted: fromTime(x.GetFamilyStarted()), LastExchange: fromTime(x.GetLastExchange()),
			Refresh: secret.New(x.GetRefreshToken()), Access: fromAccess(x.GetAccess()),
			Attempt: fromAttempt(x.GetAttempt()), Doubt: fromDoubt(x.GetDoubt()), Alternates: fromAlternates(x.GetAlternates()),
			Suspicion: fromSuspicion(x.GetSuspicion()), NotBefore: fromTime(x.GetNotBefore()), Failures: int(x.GetFailures()),
			Lapse: family.LapseReason(x.GetLapse()), EndedAt: fromTime(x.GetEndedAt()),
			WarnedIdle: int(x.GetWarnedIdleDays()), WarnedAbsolute: int(x.GetWarnedAbsoluteDays()), Inquiry: fromInquiry(x.GetInquiry()),
			Reserves: fromReserves(x.GetReserves()), Former: fromFormer(x.GetFormer()),
		},
	}
}

func toInquiry(i *family.Inquiry) *storagev1.Inquiry {
	if i == nil {
		return nil
	}
	return &storagev1.Inquiry{RefusedAt: toTime(i.RefusedAt), Next: toTime(i.Next), Until: toTime(i.Until), Accepted: i.Accepted}
}

func fromInquiry(i *storagev1.Inquiry) *family.Inquiry {
	if i == nil {
		return nil
	}
	return &family.Inquiry{RefusedAt: fromTime(i.GetRefusedAt()), Next: fromTime(i.GetNext()), Until: fromTime(i.GetUntil()), Accepted: i.GetAccepted()}
}

func toFormer(list []family.Former) []*storagev1.FormerAccess {
	var out []*storagev1.FormerAccess
	for _, f := range list {
		out = append(out, &storagev1.FormerAccess{Generation: f.Generation, Fingerprint: f.Fingerprint, DiesAt: toTime(f.DiesAt)})
	}
	return out
}

func fromFormer(list []*storagev1.FormerAccess) []family.Former {
	var out []family.Former
	for _, f := range list {
		out = append(out, family.Former{Generation: f.GetGeneration(), Fingerprint: f.GetFingerprint(), DiesAt: fromTime(f.GetDiesAt())})
	}
	return out
}

func toReserves(list []family.Reserve) []*storagev1.Reserve {
	var out []*storagev1.Reserve
	for _, r := range list {
		out = append(out, &storagev1.Reserve{RefreshToken: r.Refresh.Reveal(), Doubt: toDoubt(&r.Doubt)})
	}
	return out
}

func fromReserves(list []*storagev1.Reserve) []family.Reserve {
	var out []family.Reserve
	for _, r := range list {
		if d := fromDoubt(r.GetDoubt()); d != nil {
			out = append(out, family.Reserve{Refresh: secret.New(r.GetRefreshToken()), Doubt: *d})
		}
	}
	return out
}

// checkGrant compares a public part with the key it was read under and with
// what the backend indexed.
func checkGrant(it Item, p *storagev1.GrantPublic) error {
	if p.GetId() != it.Key.ID {
		return fmt.Errorf("it is the record of %s", p.GetId())
	}
	if a := fromAddress(p.GetAddress()); a.GrantID() != it.Key.ID {
		return fmt.Errorf("its address %s belongs to another id", a)
	}
	if !fromTime(p.GetDue()).Equal(it.Due) {
		return errors.New("the backend's due time is not the record's")
	}
	return nil
}

// openGrant opens a record as the grant that its key says.
func (s *Store) openGrant(it Item) (Grant, error) {
	var p storagev1.GrantPublic
	if err := openPublic(it, &p); err != nil {
		s.refused.Add(1)
		return Grant{}, corrupt("grant "+it.Key.ID, err)
	}
	return s.openGrantSecret(it, &p)
}

func (s *Store) openGrantSecret(it Item, p *storagev1.GrantPublic) (Grant, error) {
	var x storagev1.GrantSecret
	err := checkGrant(it, p)
	if err != nil {
		s.refused.Add(1)
	} else {
		err = s.openSecret(it, &x)
	}
	if err != nil {
		return Grant{}, corrupt(fmt.Sprintf("grant %s (%s)", fromAddress(p.GetAddress()), it.Key.ID), err)
	}
	return fromGrant(p, &x, it.Version), nil
}

func (s *Store) sealGrant(g *Grant) (Change, error) {
	if err := g.Address.Validate(); err != nil {
		return Change{}, err
	}
	if g.ID != g.Address.GrantID() {
		return Change{}, fmt.Errorf("grant %s has the id %s of another address", g.Address, g.ID)
	}
	c, err := s.sealNew(Key{KindGrant, g.ID}, g.Version, g.Floor, toGrantPublic(g), toGrantSecret(g))
	c.Item.Due = g.Due
	return c, err
}
