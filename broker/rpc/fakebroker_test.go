package rpc

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/identity"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// fakeBroker satisfies all interfaces. It denies callers that are not
// mapped, as the broker's funnel does, unless allowAll is set.
type fakeBroker struct {
	// hook, if set, runs in every method; its error is the method's.
	hook     func(ctx context.Context) error
	allowAll bool
	token    string
	results  []broker.TokenResult

	unrecorded error // what RecordRefusal returns

	mu      sync.Mutex
	refused []string        // guarded by mu; what RecordRefusal was told
	callers []broker.Caller // guarded by mu
	args    []any           // guarded by mu; of the last call
}

func newFakeBroker() *fakeBroker { return &fakeBroker{token: "access-token"} }

func (f *fakeBroker) enter(ctx context.Context, c broker.Caller, args ...any) error {
	f.mu.Lock()
	f.callers = append(f.callers, c)
	f.args = args
	f.mu.Unlock()
	if f.hook != nil {
		if err := f.hook(ctx); err != nil {
			return err
		}
	}
	if c.Name == "" || (!f.allowAll && strings.HasPrefix(c.Name, identity.UnmappedPrefix)) {
		return &broker.Error{Reason: broker.ReasonCallerNotAllowed, Message: "denied"}
	}
	return nil
}

func (f *fakeBroker) RecordRefusal(c broker.Caller, method string, reason broker.Reason, limit string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, strings.Join([]string{c.Name, string(c.Kind), method, string(reason), limit}, " "))
	return f.unrecorded
}

func (f *fakeBroker) refusals() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Compact(slices.Clone(f.refused))
}

func (f *fakeBroker) last() (calls int, c broker.Caller, args []any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.callers) == 0 {
		return 0, broker.Caller{}, nil
	}
	return len(f.callers), f.callers[len(f.callers)-1], f.args
}

var (
	at      = time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)
	acme    = storage.Address{Tenant: "acme", Subject: "automation", Product: "jira", Name: "default"}
	theSite = storage.Site{CloudID: "c-1", Name: "Acme", URL: "https://acme.example", Scopes: []string{"read:jira-work"}}
)

func (f *fakeBroker) answer() *broker.TokenAnswer {
	return &broker.TokenAnswer{
		GrantID: acme.GrantID(), Address: acme, Token: secret.New(f.token), Generation: 7,
		ExpiresAt: at.Add(time.Hour), GuaranteedUntil: at.Add(10 * time.Minute), RefreshAfter: at.Add(50 * time.Minute),
		ServerTime: at, Scopes: []string{"read:jira-work", "offline_access"}, Site: &theSite,
		APIBaseURL: "https://api.example/ex/jira/c-1",
	}
}

func grantInfo() broker.GrantInfo {
	return broker.GrantInfo{
		ID: acme.GrantID(), Address: acme, App: "jira-app", Account: "a-1", Phase: family.Lapsed,
		Lapse: family.LapseLostInDoubt, Generation: 7, Scopes: []string{"read:jira-work"}, Sites: []storage.Site{theSite},
		CreatedAt: at.Add(1), ConsentedAt: at.Add(2), LastExchange: at.Add(3), AccessExpiresAt: at.Add(4),
		InDoubt: true, AttemptRunning: true, NextAttempt: at.Add(5), IdleDeadline: at.Add(6), AbsoluteDeadline: at.Add(7),
		IdleSource: family.SourceObserved, AbsoluteSource: family.SourceDocumented, Related: []string{"grt_other"},
	}
}

func link() *broker.ConsentLink {
	return &broker.ConsentLink{
		ID: "cns_1", URL: "https://broker.example/connect/x", ExpiresAt: at,
		Scopes: []string{"read:jira-work"}, Warning: "shared app",
	}
}

func (f *fakeBroker) AccessToken(ctx context.Context, c broker.Caller, r broker.TokenRequest) (*broker.TokenAnswer, error) {
	return f.answer(), f.enter(ctx, c, r)
}

func (f *fakeBroker) AccessTokens(ctx context.Context, c broker.Caller, rs []broker.TokenRequest) ([]broker.TokenResult, error) {
	out := f.results
	if out == nil {
		for range rs {
			out = append(out, broker.TokenResult{Answer: f.answer()})
		}
	}
	return out, f.enter(ctx, c, rs)
}

func (f *fakeBroker) Watch(ctx context.Context, c broker.Caller, r broker.TokenRequest, send func(broker.TokenResult) error) error {
	if err := f.enter(ctx, c, r); err != nil {
		return err
	}
	results := f.results
	if results == nil {
		results = []broker.TokenResult{{Answer: f.answer()}}
	}
	for _, one := range results {
		if err := send(one); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (f *fakeBroker) ReportRejected(ctx context.Context, c broker.Caller, r broker.RejectionReport) (broker.RejectionVerdict, error) {
	return broker.VerdictStale, f.enter(ctx, c, r)
}

func (f *fakeBroker) MyGrants(ctx context.Context, c broker.Caller, size int, page string) ([]broker.GrantInfo, string, error) {
	return []broker.GrantInfo{grantInfo()}, "next", f.enter(ctx, c, size, page)
}

func (f *fakeBroker) StartConsent(ctx context.Context, c broker.Caller, r broker.ConsentRequest) (*broker.ConsentLink, error) {
	return link(), f.enter(ctx, c, r)
}

func (f *fakeBroker) Consent(ctx context.Context, c broker.Caller, id string) (*broker.ConsentInfo, error) {
	return &broker.ConsentInfo{
		ID: id, Address: acme, App: "jira-app", Status: storage.ConsentDone, Detail: "well",
		ExpiresAt: at, GrantID: acme.GrantID(),
	}, f.enter(ctx, c, id)
}

func (f *fakeBroker) Grants(ctx context.Context, c broker.Caller, g broker.GrantFilter) ([]broker.GrantInfo, string, error) {
	return []broker.GrantInfo{grantInfo()}, "next", f.enter(ctx, c, g)
}

func (f *fakeBroker) Grant(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.GrantInfo, []family.Event, error) {
	g := grantInfo()
	return &g, []family.Event{{
		Type: family.EventInDoubt, At: at, Generation: 6, Fence: 9, AttemptID: "att", Detail: "http_502",
	}}, f.enter(ctx, c, id, a)
}

func (f *fakeBroker) Revoke(ctx context.Context, c broker.Caller, id string, a storage.Address, reason string) (*broker.RevokeResult, error) {
	return revocation("NOT_OFFERED"), f.enter(ctx, c, id, a, reason)
}

func (f *fakeBroker) Purge(ctx context.Context, c broker.Caller, id string, a storage.Address, reason string, dryRun bool) (*broker.PurgeResult, error) {
	return &broker.PurgeResult{Grant: grantInfo(), Events: 3, Collected: true}, f.enter(ctx, c, id, a, reason, dryRun)
}

func (f *fakeBroker) WouldRevoke(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.RevokeResult, error) {
	return revocation("NOT_ASKED"), f.enter(ctx, c, id, a)
}

func revocation(atProvider string) *broker.RevokeResult {
	return &broker.RevokeResult{
		Grant: grantInfo(), ProviderRevocation: atProvider, LastTokenExpiresAt: at,
		LiveTokens: []broker.LiveToken{{Generation: 3, Fingerprint: "hf1:00", DiesAt: at}}, Affected: []broker.GrantInfo{grantInfo()},
	}
}

func (f *fakeBroker) Reauth(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.ConsentLink, error) {
	return link(), f.enter(ctx, c, id, a)
}

func (f *fakeBroker) ForceRefresh(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.GrantInfo, error) {
	g := grantInfo()
	return &g, f.enter(ctx, c, id, a)
}

func (f *fakeBroker) AdoptGrants(ctx context.Context, c broker.Caller, mode broker.AdoptMode, g broker.GrantFilter, dryRun bool) (*broker.AdoptResult, error) {
	return &broker.AdoptResult{Count: 1234, Grants: []broker.GrantInfo{grantInfo()}}, f.enter(ctx, c, mode, g, dryRun)
}

func (f *fakeBroker) Status(ctx context.Context, c broker.Caller) (*broker.Status, error) {
	return &broker.Status{
		Version: "v1", Environment: "test", Provider: "sim", StoreID: "st", StartedAt: at, Now: at.Add(1), Ready: false,
		Clock: atlassian.Clock{Ahead: -time.Minute, At: at}, Reasons: []string{"store is read-only"}, Warnings: []string{"a slot does not open"}, Damaged: []string{"grt_damaged"}, StoreFinding: "moved or copied", OpenSettlements: 3,
		Families: map[family.Phase]int{family.Revoked: 2, family.Active: 5, family.Lapsed: 0}, CountedAt: at.Add(-time.Hour),
		Apps: []broker.AppStatus{appStatus()}, KeyRotation: rotation(), AuditCheckpoint: "a note",
	}, f.enter(ctx, c)
}

func (f *fakeBroker) WhoHad(ctx context.Context, c broker.Caller, q broker.WhoHadQuery) (*broker.WhoHadAnswer, error) {
	return &broker.WhoHadAnswer{
		HandOuts: []broker.HandOut{{
			At: at, Caller: "svc", CallerKind: broker.CallerSPIFFE, Rule: "ru", Grant: "acme/a/jira", GrantID: "grt_1", Purpose: "p",
			RequestID: "req", Fingerprint: "hf1:ab", Generation: 7, AliveUntil: at.Add(time.Hour),
		}},
		More: true, SearchedFrom: at.Add(-time.Hour), Fingerprint: "hf1:ab",
	}, f.enter(ctx, c, q.Token.Reveal(), q.Fingerprint, q.ID, q.Address, q.Since, q.Limit)
}

func rotation() *broker.KeyRotation {
	return &broker.KeyRotation{StartedAt: at, EndedAt: at.Add(time.Hour), Resealed: 4, Total: 5, Stuck: "a record does not open"}
}

func (f *fakeBroker) RotateKeys(ctx context.Context, c broker.Caller) (*broker.KeyRotation, error) {
	return rotation(), f.enter(ctx, c)
}

func appStatus() broker.AppStatus {
	return broker.AppStatus{
		ID: "jira-app", Products: []string{"jira"}, Paused: "secret refused", Shared: true, PausedByOperator: true,
		VerdictsHeld: true, RecentAttempts: 9, RecentRefusals: 8, CircuitOpen: true,
		Events: []storage.AppEvent{{Type: storage.AppVerdictsHeld, At: at, Detail: "8 of 9"}},
	}
}

func (f *fakeBroker) Apps(ctx context.Context, c broker.Caller) ([]broker.AppStatus, error) {
	return []broker.AppStatus{appStatus()}, f.enter(ctx, c)
}

func (f *fakeBroker) PauseApp(ctx context.Context, c broker.Caller, id, reason string) (*broker.AppStatus, error) {
	s := appStatus()
	return &s, f.enter(ctx, c, id, reason)
}

func (f *fakeBroker) ResumeApp(ctx context.Context, c broker.Caller, id string, within time.Duration) (*broker.AppStatus, int, error) {
	s := appStatus()
	return &s, 3, f.enter(ctx, c, id, within)
}

func (f *fakeBroker) ExplainAccess(ctx context.Context, c broker.Caller, r policy.Request) (*policy.Explanation, error) {
	return &policy.Explanation{
		Allow: true, Rules: []string{"r1"}, Facts: []policy.Fact{{Name: "action", Value: "x"}}, Errors: []string{"r2: overflow"},
		Shadow: &policy.Explanation{Allow: true, Rules: []string{"s1"}}, Version: "abc",
	}, f.enter(ctx, c, r)
}
