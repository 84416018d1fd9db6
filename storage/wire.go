package storage

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/broker/family"
	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/secret"
)

// The small parts that several records share, to and from their stored form.
// The zero time is an absent Timestamp; nil and empty slices are the same.

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func fromTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func toAddress(a Address) *storagev1.Address {
	return &storagev1.Address{Tenant: a.Tenant, Subject: a.Subject, Product: a.Product, Name: a.Name}
}

func fromAddress(a *storagev1.Address) Address {
	return Address{Tenant: a.GetTenant(), Subject: a.GetSubject(), Product: a.GetProduct(), Name: a.GetName()}
}

func toSites(sites []Site) []*storagev1.Site {
	var out []*storagev1.Site
	for _, s := range sites {
		out = append(out, &storagev1.Site{CloudId: s.CloudID, Name: s.Name, Url: s.URL, Scopes: s.Scopes})
	}
	return out
}

func fromSites(sites []*storagev1.Site) []Site {
	var out []Site
	for _, s := range sites {
		out = append(out, Site{CloudID: s.GetCloudId(), Name: s.GetName(), URL: s.GetUrl(), Scopes: s.GetScopes()})
	}
	return out
}

func toAccess(a family.Access) *storagev1.Access {
	return &storagev1.Access{Token: a.Token.Reveal(), ExpiresAt: toTime(a.ExpiresAt), Scopes: a.Scopes, Rejected: a.Rejected}
}

func fromAccess(a *storagev1.Access) family.Access {
	return family.Access{Token: secret.New(a.GetToken()), ExpiresAt: fromTime(a.GetExpiresAt()), Scopes: a.GetScopes(), Rejected: a.GetRejected()}
}

func toAttempt(a *family.Attempt) *storagev1.Attempt {
	if a == nil {
		return nil
	}
	return &storagev1.Attempt{
		Id: a.ID, Fence: a.Fence, Generation: a.Generation, Kind: storagev1.AttemptKind(a.Kind),
		FirstAnnounced: toTime(a.FirstAnnounced), Announced: toTime(a.Announced), LeaseUntil: toTime(a.LeaseUntil),
	}
}

func fromAttempt(a *storagev1.Attempt) *family.Attempt {
	if a == nil {
		return nil
	}
	return &family.Attempt{
		ID: a.GetId(), Fence: a.GetFence(), Generation: a.GetGeneration(), Kind: family.AttemptKind(a.GetKind()),
		FirstAnnounced: fromTime(a.GetFirstAnnounced()), Announced: fromTime(a.GetAnnounced()), LeaseUntil: fromTime(a.GetLeaseUntil()),
	}
}

func toDoubt(d *family.Doubt) *storagev1.Doubt {
	if d == nil {
		return nil
	}
	return &storagev1.Doubt{Generation: d.Generation, FirstAnnounced: toTime(d.FirstAnnounced), Repeats: int64(d.Repeats), LastTry: toTime(d.LastTry)}
}

func fromDoubt(d *storagev1.Doubt) *family.Doubt {
	if d == nil {
		return nil
	}
	return &family.Doubt{
		Generation: d.GetGeneration(), FirstAnnounced: fromTime(d.GetFirstAnnounced()),
		Repeats: int(d.GetRepeats()), LastTry: fromTime(d.GetLastTry()),
	}
}

func toAlternates(alts []family.Alternate) []*storagev1.Alternate {
	var out []*storagev1.Alternate
	for _, a := range alts {
		out = append(out, &storagev1.Alternate{
			Generation: a.Generation, RefreshToken: a.Refresh.Reveal(), Access: toAccess(a.Access), At: toTime(a.At),
		})
	}
	return out
}

func fromAlternates(alts []*storagev1.Alternate) []family.Alternate {
	var out []family.Alternate
	for _, a := range alts {
		out = append(out, family.Alternate{
			Generation: a.GetGeneration(), Refresh: secret.New(a.GetRefreshToken()),
			Access: fromAccess(a.GetAccess()), At: fromTime(a.GetAt()),
		})
	}
	return out
}

func toSuspicion(s *family.Suspicion) *storagev1.Suspicion {
	if s == nil {
		return nil
	}
	return &storagev1.Suspicion{
		Refusals: int64(s.Refusals), First: toTime(s.First), Last: toTime(s.Last), Code: s.Code,
		Held: int64(s.Held), AskedAgain: s.AskedAgain,
	}
}

func fromSuspicion(s *storagev1.Suspicion) *family.Suspicion {
	if s == nil {
		return nil
	}
	return &family.Suspicion{
		Refusals: int(s.GetRefusals()), First: fromTime(s.GetFirst()), Last: fromTime(s.GetLast()), Code: s.GetCode(),
		Held: int(s.GetHeld()), AskedAgain: s.GetAskedAgain(),
	}
}
