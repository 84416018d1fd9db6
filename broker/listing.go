package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	defaultPage = 100
	mostPage    = 1000
	// mostScanned bounds the rows that one page may read: a caller that may see
	// few of many grants gets a short page, perhaps an empty one, and a token.
	mostScanned = 5000
)

// Grants lists the grants that the caller may read, in order of their ids; the second result is the next
// page's token, empty on the last page.
func (b *Broker) Grants(ctx context.Context, caller Caller, f GrantFilter) ([]GrantInfo, string, error) {
	c, err := b.enterListing(caller, "ListGrants", policy.Read)
	var page []GrantInfo
	var next string
	of := pageOf(caller, "ListGrants", &f)
	if err == nil {
		f.PageToken, err = b.openPageToken(of, f.PageToken)
	}
	if err == nil {
		page, next, err = b.pageInTurn(ctx, caller, f, func(a storage.Address) bool { return b.sees(caller, policy.Read, a) })
	}
	if err == nil {
		next, err = b.pageToken(of, next)
	}
	if err = c.done(err); err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// MyGrants lists the grants that the caller may draw from: none for a caller who
// may do other things only.
func (b *Broker) MyGrants(ctx context.Context, caller Caller, pageSize int, pageToken string) ([]GrantInfo, string, error) {
	c, err := b.enterListing(caller, "ListMyGrants", policy.Draw)
	var page []GrantInfo
	var next string
	of := pageOf(caller, "ListMyGrants", &GrantFilter{})
	if err == nil {
		pageToken, err = b.openPageToken(of, pageToken)
	}
	if err == nil && c.rec.Rule == grantByGrant {
		page, next, err = b.pageInTurn(ctx, caller, GrantFilter{PageSize: pageSize, PageToken: pageToken}, func(a storage.Address) bool {
			return b.sees(caller, policy.Draw, a)
		})
	}
	if err == nil {
		next, err = b.pageToken(of, next)
	}
	if err = c.done(err); err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// page reads on until it has a page of grants that see allows. f.PageToken and the
// second result are the id of the last row that was read, in the clear.
func (b *Broker) page(ctx context.Context, f GrantFilter, see func(storage.Address) bool) ([]GrantInfo, string, error) {
	size := f.PageSize
	if size == 0 {
		size = defaultPage
	}
	if size < 0 || size > mostPage {
		return nil, "", invalid("page_size", "page_size must be from 1 to %d", mostPage)
	}
	out := []GrantInfo{}
	filter := storage.Filter{Tenant: f.Tenant, Product: f.Product, Phase: f.Phase, After: f.PageToken, Limit: mostPage}
	scanned := 0
	for {
		rows, err := b.store.Grants(ctx, filter)
		if err != nil {
			return nil, "", storeError("listing", "grants", err)
		}
		for i := range rows {
			if !see(rows[i].Address) {
				continue
			}
			if len(out) == size {
				return out, out[size-1].ID, nil
			}
			out = append(out, *b.info(&rows[i]))
		}
		if len(rows) < filter.Limit {
			return out, "", nil
		}
		filter.After = rows[len(rows)-1].ID
		if scanned += len(rows); scanned >= mostScanned {
			return out, filter.After, nil
		}
	}
}

// info is a grant without its secrets.
func (b *Broker) info(g *storage.Grant) *GrantInfo {
	s := &g.State
	i := &GrantInfo{
		ID: g.ID, Address: g.Address, App: g.App, Account: g.Account, Phase: s.Phase, Lapse: s.Lapse,
		Generation: s.Generation, Scopes: s.Access.Scopes, Sites: g.Sites, CreatedAt: g.CreatedAt,
		ConsentedAt: s.FamilyStarted, LastExchange: s.LastExchange, AccessExpiresAt: s.Access.ExpiresAt,
		InDoubt: s.Doubt != nil, AttemptRunning: s.Attempt != nil, NextAttempt: s.NotBefore,
	}
	for _, d := range s.Deadlines(b.timing(g.App)) {
		if d.Limit == family.LimitIdle {
			i.IdleDeadline, i.IdleSource = d.At, d.Source
		} else {
			i.AbsoluteDeadline, i.AbsoluteSource = d.At, d.Source
		}
	}
	return i
}

// Status tells how this broker fares.
func (b *Broker) Status(ctx context.Context, caller Caller) (*Status, error) {
	c, err := b.enter(caller, "GetStatus", policy.Read, storage.Address{})
	var s *Status
	if err == nil {
		s, err = b.status(ctx)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return s, nil
}

func (b *Broker) status(ctx context.Context) (*Status, error) {
	reasons := b.NotReady(ctx)
	s := &Status{
		Version: b.cfg.Version, Environment: b.cfg.Environment, Provider: b.cfg.Provider.Profile().Name, StoreID: b.store.StoreID(), StoreFinding: b.store.Finding(),
		StartedAt: b.started, Now: b.now(), Ready: len(reasons) == 0, Reasons: reasons, Families: make(map[family.Phase]int),
	}
	census, err := b.recount(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, storeError("counting", "grants", err)
	case errors.Is(err, errUncounted), errors.Is(err, errLate): // said below
	case err != nil: // whoever asks what is wrong must be told without the store, too
		census = Census{}
		if s.Ready {
			s.Ready, s.Reasons = false, []string{"store: the grants can not be counted: " + err.Error()}
		}
	}
	s.CountedAt = census.At
	for _, app := range census.Apps {
		for phase, n := range app.Phases {
			s.Families[phase] += n
		}
	}
	s.Clock, _ = b.cfg.Provider.Clock()
	s.OpenSettlements = b.unstored.count().open
	s.AuditCheckpoint = b.cfg.Audit.Checkpoint()
	s.Damaged = b.store.Damaged() // as the newest counting left it
	if r := b.keyRotation(); !r.StartedAt.IsZero() {
		s.KeyRotation = &r
	}
	s.Warnings = b.warnings(s)
	if errors.Is(err, errUncounted) || errors.Is(err, errLate) && s.Ready {
		s.Warnings = append(s.Warnings, err.Error())
	}
	for _, id := range b.appIDs() {
		s.Apps = append(s.Apps, b.apps[id].status(s.Now))
	}
	return s, nil
}

// warnings are what somebody should look at although the broker does its work.
func (b *Broker) warnings(s *Status) []string {
	var out []string
	for _, err := range b.store.Spill().Damaged() {
		out = append(out, err.Error())
	}
	if text := b.cfg.Policy.Complaint(); text != "" {
		out = append(out, text)
	}
	out = append(out, b.cfg.Audit.Complaints()...)
	if h := b.kek.health(b.now()); !h.GoneSince.IsZero() {
		out = append(out, fmt.Sprintf("since %s the key-encryption key does not answer: %s", h.GoneSince.UTC().Format(time.RFC3339), h.Cause))
	}
	if r := s.KeyRotation; r != nil && r.Stuck != "" {
		out = append(out, "the rotation of the data keys does not end: "+r.Stuck)
	}
	if !s.Clock.At.IsZero() && !b.clock.agrees(s.Clock) {
		out = append(out, fmt.Sprintf("this machine's clock differed from the provider's by %v at %s, and the clock margin is %v: set the clock (NTP)",
			s.Clock.Ahead.Abs().Round(time.Second), s.Clock.At.UTC().Format(time.RFC3339), b.cfg.Timing.ClockMargin))
	}
	return out
}

// NotReady says why this broker can not do its work now, one sentence each;
// none: it is ready.
func (b *Broker) NotReady(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var reasons []string
	if err := b.store.Health(ctx); err != nil {
		reasons = append(reasons, "store: "+err.Error())
	}
	if text := b.replica.notReady(); text != "" && len(reasons) == 0 {
		reasons = append(reasons, text)
	}
	if text := b.unstored.count().complaint(); text != "" {
		reasons = append(reasons, text)
	}
	if err := b.cfg.Audit.Health(); err != nil {
		reasons = append(reasons, "audit: "+err.Error())
	}
	if text := b.kekGone(); text != "" {
		reasons = append(reasons, "keys: "+text)
	}
	if d := b.clock.behind(); d > 0 {
		reasons = append(reasons, "clock: "+b.clock.complaint(d))
	}
	for _, id := range b.appIDs() {
		if secrets, err := b.apps[id].Secrets(); err != nil || len(secrets) == 0 {
			reasons = append(reasons, "app "+id+": its client secret cannot be read")
		}
	}
	return reasons
}
