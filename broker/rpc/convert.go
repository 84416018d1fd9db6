package rpc

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

// selected returns the id or the address that a selector names.
func selected(s *holdfastv1.GrantSelector) (string, storage.Address) {
	if a := s.GetAddress(); a != nil {
		return "", address(a)
	}
	return s.GetId(), storage.Address{}
}

func address(a *holdfastv1.GrantAddress) storage.Address {
	name := a.GetName()
	if name == "" {
		name = storage.DefaultName
	}
	return storage.Address{Tenant: a.GetTenant(), Subject: a.GetSubject(), Product: a.GetProduct(), Name: name}
}

func addressOut(a storage.Address) *holdfastv1.GrantAddress {
	return &holdfastv1.GrantAddress{Tenant: a.Tenant, Subject: a.Subject, Product: a.Product, Name: a.Name}
}

// timeOut leaves the zero time unset.
func timeOut(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// enumNumber returns the number of the contract's enum value for one of the
// broker's words; 0, unspecified, for a word that the contract does not know.
func enumNumber(values map[string]int32, prefix, word string) int32 {
	return values[prefix+strings.ToUpper(word)]
}

func phaseOut(p family.Phase) holdfastv1.GrantPhase {
	return holdfastv1.GrantPhase(enumNumber(holdfastv1.GrantPhase_value, "GRANT_PHASE_", p.String()))
}

// phases is phaseOut turned round.
var phases = func() map[holdfastv1.GrantPhase]family.Phase {
	all := map[holdfastv1.GrantPhase]family.Phase{}
	for _, p := range []family.Phase{family.Active, family.Suspected, family.Lapsed, family.Quarantined, family.Revoked} {
		all[phaseOut(p)] = p
	}
	return all
}()

func siteOut(s storage.Site) *holdfastv1.Site {
	return &holdfastv1.Site{CloudId: s.CloudID, Name: s.Name, Url: s.URL, Scopes: s.Scopes}
}

func grantOut(g *broker.GrantInfo) *holdfastv1.Grant {
	out := &holdfastv1.Grant{
		Id:               g.ID,
		Address:          addressOut(g.Address),
		AppId:            g.App,
		AccountId:        g.Account,
		Phase:            phaseOut(g.Phase),
		LapseReason:      holdfastv1.LapseReason(enumNumber(holdfastv1.LapseReason_value, "LAPSE_REASON_", string(g.Lapse))),
		Generation:       g.Generation,
		Scopes:           g.Scopes,
		CreatedAt:        timeOut(g.CreatedAt),
		ConsentedAt:      timeOut(g.ConsentedAt),
		LastExchangeAt:   timeOut(g.LastExchange),
		AccessExpiresAt:  timeOut(g.AccessExpiresAt),
		InDoubt:          g.InDoubt,
		AttemptRunning:   g.AttemptRunning,
		NextAttemptAt:    timeOut(g.NextAttempt),
		IdleDeadline:     timeOut(g.IdleDeadline),
		AbsoluteDeadline: timeOut(g.AbsoluteDeadline),

		IdleDeadlineSource:     sourceOut(g.IdleSource),
		AbsoluteDeadlineSource: sourceOut(g.AbsoluteSource),
		RelatedGrantIds:        g.Related,
	}
	for _, s := range g.Sites {
		out.Sites = append(out.Sites, siteOut(s))
	}
	return out
}

func sourceOut(s family.Source) holdfastv1.DeadlineSource {
	return holdfastv1.DeadlineSource(enumNumber(holdfastv1.DeadlineSource_value, "DEADLINE_SOURCE_", string(s)))
}

func grantsOut(gs []broker.GrantInfo) []*holdfastv1.Grant {
	out := make([]*holdfastv1.Grant, len(gs))
	for i := range gs {
		out[i] = grantOut(&gs[i])
	}
	return out
}

func eventOut(e family.Event) *holdfastv1.GrantEvent {
	return &holdfastv1.GrantEvent{
		Type:       holdfastv1.GrantEventType(enumNumber(holdfastv1.GrantEventType_value, "GRANT_EVENT_TYPE_", string(e.Type))),
		OccurredAt: timeOut(e.At),
		Generation: e.Generation,
		Fence:      e.Fence,
		AttemptId:  e.AttemptID,
		Detail:     e.Detail,
	}
}
