package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// RevokeResult says what a revocation did, or would do.
type RevokeResult struct {
	Grant GrantInfo
	// ProviderRevocation is "DONE", "NOT_OFFERED", "UNVERIFIED" or "NOT_ASKED";
	// before a revocation it is empty where the provider would be asked.
	ProviderRevocation string
	// LastTokenExpiresAt is when the last of LiveTokens dies at the latest; zero: there is none.
	LastTokenExpiresAt time.Time
	// LiveTokens are the access tokens that may be alive, newest first.
	LiveTokens []LiveToken
	// Affected are other grants of the account at the same client that have not
	// ended: a revocation at the provider may end them too. At most 100, by id.
	Affected []GrantInfo
}

// LiveToken is an access token that may be alive.
type LiveToken struct {
	Generation  uint64
	Fingerprint string
	// DiesAt is when it is dead for certain.
	DiesAt time.Time
}

// notAsked: the provider was not asked to end the token, or is to be asked only
// when a refresh that is under way has ended.
const notAsked = "NOT_ASKED"

// Revoke ends the grant's family durably, then asks the provider once to end it,
// if it offers that and the app's configuration does not say otherwise. When it
// returned, no call that starts later gets the token from this broker. Of a
// revoked grant it only asks the provider again, unless that has confirmed.
func (b *Broker) Revoke(ctx context.Context, caller Caller, id string, a storage.Address, reason string) (*RevokeResult, error) {
	c, id, err := b.enterAdmin(ctx, caller, "RevokeGrant", policy.Operate, id, a)
	c.rec.Detail = reason
	var result *RevokeResult
	if err == nil {
		err = c.intend()
	}
	if err == nil {
		result, err = b.revoke(ctx, c, id, caller.Name)
	}
	if err == nil {
		result.Affected = b.visible(caller, result.Affected)
		c.rec.Detail = strings.TrimSpace(reason + " at_provider=" + result.ProviderRevocation)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return result, nil
}

// WouldRevoke says what Revoke would do and affect, and changes nothing.
func (b *Broker) WouldRevoke(ctx context.Context, caller Caller, id string, a storage.Address) (*RevokeResult, error) {
	c, id, err := b.enterAdmin(ctx, caller, "RevokeGrant", policy.Operate, id, a)
	c.rec.Detail = "dry_run"
	var result *RevokeResult
	if err == nil {
		result, err = b.wouldRevoke(ctx, c, id)
	}
	if err == nil {
		result.Affected = b.visible(caller, result.Affected)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return result, nil
}

func (b *Broker) wouldRevoke(ctx context.Context, c *call, id string) (*RevokeResult, error) {
	g, err := b.store.Grant(ctx, id)
	if err != nil {
		return nil, storeError("reading a grant", c.named(id), err)
	}
	c.about(&g)
	result := b.revocation(&g)
	result.ProviderRevocation = b.unasked(&g)
	if result.Affected, err = b.affected(ctx, &g); err != nil {
		return nil, storeError("looking for grants related to", g.Address.String(), err)
	}
	return result, nil
}

func (b *Broker) revoke(ctx context.Context, c *call, id, by string) (*RevokeResult, error) {
	e, err := b.change(ctx, id, c.named(id), func(g *storage.Grant) ([]family.Event, error) {
		var events []family.Event
		g.State, events = family.Revoke(g.State, b.now(), "by "+by)
		if g.ReauthAllowed && len(events) == 0 {
			events = []family.Event{{Type: family.EventRevoked, At: b.now(), Generation: g.State.Generation, Fence: g.State.Fence, Detail: "by " + by}}
		}
		g.ReauthAllowed = false
		return events, nil
	})
	if err != nil {
		return nil, err
	}
	c.about(&e.grant)
	result := b.revocation(&e.grant)
	affected, err := b.affected(ctx, &e.grant)
	if err != nil { // the family has ended: that is to be told whatever else fails
		b.log.Warn("looking for grants that a revocation affects failed", "grant", e.grant.Address.String(), "error", err)
	}
	result.Affected = affected
	result.ProviderRevocation = b.endAtProvider(ctx, &e.grant)
	return result, nil
}

// revocation is what is known of a grant before the provider is asked.
func (b *Broker) revocation(g *storage.Grant) *RevokeResult {
	r := &RevokeResult{Grant: *b.info(g), LiveTokens: b.living(g)}
	for _, t := range r.LiveTokens {
		if t.DiesAt.After(r.LastTokenExpiresAt) {
			r.LastTokenExpiresAt = t.DiesAt
		}
	}
	return r
}

// living are the grant's access tokens that may be alive now.
func (b *Broker) living(g *storage.Grant) []LiveToken {
	var out []LiveToken
	for _, f := range g.State.Living(b.cfg.Timing, b.now()) {
		t := LiveToken{Generation: f.Generation, Fingerprint: f.Fingerprint, DiesAt: f.DiesAt}
		if !f.Token.Empty() {
			t.Fingerprint = b.fingerprint(f.Token)
		}
		out = append(out, t)
	}
	return out
}

// namedFormer leaves of tokens that are served no more their fingerprints alone.
func (b *Broker) namedFormer(s family.State) family.State {
	s.Former = slices.Clone(s.Former)
	for i, f := range s.Former {
		if !f.Token.Empty() {
			s.Former[i] = family.Former{Generation: f.Generation, Fingerprint: b.fingerprint(f.Token), DiesAt: f.DiesAt}
		}
	}
	return s
}

// visible leaves out the grants that the policy hides from the caller.
func (b *Broker) visible(caller Caller, list []GrantInfo) []GrantInfo {
	return slices.DeleteFunc(list, func(g GrantInfo) bool { return !b.sees(caller, policy.Read, g.Address) })
}

// affected are the related grants that have not ended.
func (b *Broker) affected(ctx context.Context, g *storage.Grant) ([]GrantInfo, error) {
	others, err := b.related(ctx, g)
	var out []GrantInfo
	for i := range others {
		if p := others[i].State.Phase; p != family.Revoked && p != family.Lapsed {
			out = append(out, *b.info(&others[i]))
		}
	}
	return out, err
}

// unasked says why the provider is not asked to end the family; empty: it is.
func (b *Broker) unasked(g *storage.Grant) string {
	a := b.apps[g.App]
	switch {
	case g.State.Phase == family.Revoked && g.ProviderRevocation == string(atlassian.RevocationDone):
		return g.ProviderRevocation
	case b.cfg.Provider.Profile().Revoke == atlassian.RevokeNone:
		return string(atlassian.RevocationNotOffered)
	case a == nil || a.LeaveAtProvider || g.State.Refresh.Empty(): // the latter was scrubbed
		return notAsked
	}
	return ""
}

// endAtProvider asks the provider to end a revoked family, once for each token
// that may be its living one, and notes the answer. It blocks for one HTTP
// timeout at most, whatever the number of tokens.
func (b *Broker) endAtProvider(ctx context.Context, g *storage.Grant) string {
	if why := b.unasked(g); why != "" {
		return why
	}
	if family.Normalize(g.State, b.cfg.Timing, b.now()).Attempt != nil {
		// The newest token is the one to revoke, and it is on its way: the
		// attempt in flight settles into the revoked record and sends that.
		return notAsked
	}
	credentials, err := b.apps[g.App].credentials(b.now(), b.cfg.Timing.Lease, false)
	if err != nil {
		return notAsked
	}
	asked, cancel := context.WithTimeout(ctx, b.cfg.Timing.HTTPTimeout)
	defer cancel()
	answer := atlassian.RevocationDone
	for _, token := range livingRefresh(&g.State) {
		if a := b.cfg.Provider.Revoke(asked, credentials, token); a != atlassian.RevocationDone {
			answer = a
		}
	}
	if !newestKnown(&g.State) {
		answer = atlassian.RevocationUnverified
	}
	b.noteRevocation(ctx, g, string(answer))
	return string(answer)
}

// livingRefresh are the refresh tokens of which one is the family's living one.
func livingRefresh(s *family.State) []secret.String {
	all := []secret.String{s.Refresh}
	for _, a := range s.Alternates {
		all = append(all, a.Refresh)
	}
	for _, r := range s.Reserves {
		all = append(all, r.Refresh)
	}
	return all
}

// newestKnown reports that the refresh token is the family's newest for certain.
// The answer to another's revocation is the same, for a token that the provider
// does not know counts as revoked (RFC 7009, section 2.2), and says nothing.
func newestKnown(s *family.State) bool {
	return s.Attempt == nil && s.Doubt == nil && len(s.Alternates) == 0 && len(s.Reserves) == 0
}

// noteRevocation keeps what the provider answered, in the record and its journal.
func (b *Broker) noteRevocation(ctx context.Context, asked *storage.Grant, answer string) {
	_, err := b.change(ctx, asked.ID, asked.Address.String(), func(g *storage.Grant) ([]family.Event, error) {
		s := &g.State
		if s.Phase != family.Revoked || s.Generation != asked.State.Generation || g.ProviderRevocation == answer {
			return nil, nil
		}
		g.ProviderRevocation = answer
		return []family.Event{{Type: family.EventRevoked, At: b.now(), Generation: s.Generation, Fence: s.Fence,
			Detail: "at the provider: " + strings.ToLower(answer)}}, nil
	})
	if err != nil {
		b.log.Warn("what the provider answered to a revocation could not be noted", "grant", asked.Address.String(), "answer", answer, "error", err)
	}
}

// revokeSettled finishes at the provider what a revocation left to the attempt in flight.
func (b *Broker) revokeSettled(ctx context.Context, g *storage.Grant) {
	if g.State.Phase == family.Revoked {
		b.log.Info("revoking at the provider after the attempt in flight settled", "grant", g.Address.String(), "result", b.endAtProvider(ctx, g))
	}
}
