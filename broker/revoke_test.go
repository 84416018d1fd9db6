package broker_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
)

func (w *world) wouldRevoke() *broker.RevokeResult {
	w.t.Helper()
	r, err := w.WouldRevoke(ctx, op, "", jira)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) revoke() *broker.RevokeResult {
	w.t.Helper()
	r, err := w.Revoke(ctx, op, "", jira, "stolen laptop")
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) forceRefresh() *broker.TokenAnswer {
	w.t.Helper()
	if _, err := w.ForceRefresh(ctx, op, "", jira); err != nil {
		w.t.Fatal(err)
	}
	return w.token(jira)
}

// alive are the tokens that the provider takes now.
func (w *world) alive(tokens []*broker.TokenAnswer) []uint64 {
	var out []uint64
	for _, t := range slices.Backward(tokens) {
		if w.works(t) {
			out = append(out, t.Generation)
		}
	}
	return out
}

func generations(r *broker.RevokeResult) []uint64 {
	var out []uint64
	for _, t := range r.LiveTokens {
		out = append(out, t.Generation)
	}
	return out
}

// A revocation is told of each token that the provider still takes, across forced
// rotations and a restart, and none of them outlives what it says.
func TestARevocationNamesEachTokenThatIsStillAlive(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	tokens := []*broker.TokenAnswer{w.token(jira)}
	for range 2 {
		w.clock.Advance(4 * time.Minute)
		tokens = append(tokens, w.forceRefresh())
	}
	before := w.wouldRevoke()
	if err := errors.Join(w.Close(ctx), w.store.Close()); err != nil {
		t.Fatal(err)
	}
	w.openStore()
	w.startBroker()
	after := w.wouldRevoke()
	if !slices.Equal(before.LiveTokens, after.LiveTokens) {
		t.Errorf("before a restart %v, after it %v", before.LiveTokens, after.LiveTokens)
	}
	prints := map[string]bool{}
	for _, l := range after.LiveTokens {
		prints[l.Fingerprint] = true
	}
	for _, line := range w.auditLines() { // who was handed a token is found by its fingerprint
		if line["method"] == "GetAccessToken" && !prints[line["fingerprint"].(string)] {
			t.Errorf("generation %v was handed out, and the revocation does not name it", line["generation"])
		}
	}
	for range 90 {
		said, really := generations(w.wouldRevoke()), w.alive(tokens)
		for _, g := range really {
			if !slices.Contains(said, g) {
				t.Fatalf("at %v generation %d is alive, and %v are named", w.clock.Now(), g, said)
			}
		}
		if extra := len(said) - len(really); extra > 1 { // a token counts as alive for an HTTP timeout more
			t.Fatalf("at %v %v are named, and only %v are alive", w.clock.Now(), said, really)
		}
		w.clock.Advance(time.Minute)
	}
	if r := w.revoke(); len(r.LiveTokens) > 0 || !r.LastTokenExpiresAt.IsZero() {
		t.Errorf("all are dead, and it says %+v until %v", r.LiveTokens, r.LastTokenExpiresAt)
	}
}

func TestANewConsentDoesNotHideTheOldFamilysToken(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	old := w.token(jira)
	w.clock.Advance(time.Minute)
	w.consent(jira)
	r := w.revoke()
	if want := []uint64{2, 1}; !slices.Equal(generations(r), want) || !w.works(old) {
		t.Fatalf("generations %v are named, want %v", generations(r), want)
	}
	if want := w.clock.Now().Add(time.Hour + w.cfg.Timing.HTTPTimeout); r.LastTokenExpiresAt.Sub(want).Abs() > time.Second {
		t.Errorf("the last one dies at %v, want %v", r.LastTokenExpiresAt, want)
	}
}

func TestADryRunOfARevocationChangesNothing(t *testing.T) {
	w := newWorld(t, sharedApp)
	w.consent(jira)
	w.consent(wiki)
	was := w.grant(jira)
	r := w.wouldRevoke()
	if g := w.grant(jira); g.Version != was.Version || r.Grant.Phase != family.Active {
		t.Fatalf("version %d, was %d; phase %v", g.Version, was.Version, r.Grant.Phase)
	}
	if r.ProviderRevocation != "" || len(r.Affected) != 1 || r.Affected[0].ID != wiki.GrantID() {
		t.Fatalf("got %+v", r)
	}
	w.token(jira)
	lines := w.auditLines()
	if line := lines[len(lines)-2]; line["method"] != "RevokeGrant" || line["detail"] != "dry_run" || line["outcome"] != "ok" {
		t.Errorf("audited as %v", line)
	}
}

func TestARevocationSaysWhatBecameOfTheTokenAtTheProvider(t *testing.T) {
	offers := func(m atlassian.RevokeMode) setting {
		return func(w *world) { w.profile = func(p *atlassian.Profile) { p.Revoke = m } }
	}
	for name, row := range map[string]struct {
		setting setting
		revoke  string // what the provider's endpoint does
		before  func(*world)
		want    string
		ended   bool
	}{
		"confirmed":                     {offers(atlassian.RevokeEffective), "effective", nil, "DONE", true},
		"an answer that proves nothing": {offers(atlassian.RevokeUnverified), "no_effect", nil, "UNVERIFIED", false},
		"an answer that says no":        {offers(atlassian.RevokeEffective), "absent", nil, "UNVERIFIED", false},
		"none is offered":               {offers(atlassian.RevokeNone), "effective", nil, "NOT_OFFERED", false},
		"left there by configuration":   {func(w *world) { offers(atlassian.RevokeEffective)(w); w.cfg.Apps[0].LeaveAtProvider = true }, "effective", nil, "NOT_ASKED", false},
		"the newest token is not known": {offers(atlassian.RevokeEffective), "no_effect", func(w *world) {
			w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, Count: 1})
			_, _ = w.ForceRefresh(ctx, op, "", jira)
			if w.grant(jira).State.Doubt == nil {
				w.t.Fatal("no doubt")
			}
		}, "UNVERIFIED", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, row.setting)
			w.behave(func(b *atlassiansim.Behaviour) { b.Revoke = row.revoke })
			w.consent(jira)
			if row.before != nil {
				row.before(w)
			}
			for range 2 { // revoking again says the same
				if r := w.revoke(); r.ProviderRevocation != row.want || r.Grant.Phase != family.Revoked {
					t.Fatalf("got %s of phase %v, want %s", r.ProviderRevocation, r.Grant.Phase, row.want)
				}
			}
			if ended := w.sim.Ledger().Families[0].EndedWhy == atlassiansim.EndRevoked; ended != row.ended {
				t.Errorf("ended at the provider: %v", ended)
			}
			// Once confirmed, the provider is not asked any more.
			w.behave(func(b *atlassiansim.Behaviour) { b.Revoke = "absent" })
			again := row.want
			if r := w.revoke(); r.ProviderRevocation != again {
				t.Errorf("later: %s, want %s", r.ProviderRevocation, again)
			}
			if detail := strings.Join(w.details(jira, family.EventRevoked), ", "); strings.Contains(detail, "at the provider") != (row.want == "DONE" || row.want == "UNVERIFIED") {
				t.Errorf("the journal says %q", detail)
			}
		})
	}
}

// What a revocation at the provider ends is recorded with its cause, however long
// afterwards that shows.
func TestAGrantThatARevocationEndedNamesIt(t *testing.T) {
	for name, wait := range map[string]time.Duration{"soon": 2 * time.Minute, "days later": 5 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sharedApp)
			w.behave(func(b *atlassiansim.Behaviour) { b.Revoke = "effective_account" })
			w.consent(jira)
			w.consent(wiki)
			w.clock.Advance(time.Minute)
			if r := w.revoke(); len(r.Affected) != 1 || r.Affected[0].ID != wiki.GrantID() {
				t.Fatalf("affected %+v", r.Affected)
			}
			w.clock.Advance(wait)
			w.lapse(wiki)
			w.settleFollowUps()
			if got, want := w.details(wiki, family.EventInterference), []string{"lapsed after revocation of " + jira.GrantID()}; !slices.Equal(got, want) {
				t.Errorf("interference %q, want %q", got, want)
			}
			if r := w.revoke(); len(r.Affected) != 0 {
				t.Errorf("a grant that has ended counts as affected: %+v", r.Affected)
			}
		})
	}
}
