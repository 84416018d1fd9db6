package broker_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// field returns a text field of a JSON answer.
func field(t testing.TB, resp *http.Response, name string) string {
	t.Helper()
	var fields map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&fields); err != nil {
		t.Fatal(err)
	}
	text, ok := fields[name].(string)
	if !ok {
		t.Fatalf("%s: no %s in the answer", resp.Status, name)
	}
	return text
}

func (w *world) behave(set func(*atlassiansim.Behaviour)) {
	w.t.Helper()
	if err := w.sim.SetBehaviour(set); err != nil {
		w.t.Fatal(err)
	}
}

// lapse has the provider's refusal of a grant confirmed.
func (w *world) lapse(a storage.Address) {
	w.t.Helper()
	for range 4 {
		_, _ = w.ForceRefresh(ctx, op, "", a)
		if w.grant(a).State.Phase == family.Lapsed {
			return
		}
		w.clock.Advance(time.Minute)
	}
	w.t.Fatalf("phase %v", w.grant(a).State.Phase)
}

func TestGrantsOfOneAppAndAccountKnowOfEachOther(t *testing.T) {
	w := newWorld(t, sharedApp)
	other := mustAddress("acme/other/jira")
	w.consent(jira)
	w.consent(wiki)
	account := "&sim_account=" + url.QueryEscape(atlassiansim.DefaultAccounts()[1].ID)
	if o := w.visit(w.link(other).URL, account).finish(); o.Status != storage.ConsentDone {
		t.Fatal(o.Status)
	}
	for a, want := range map[storage.Address][]string{jira: {wiki.GrantID()}, wiki: {jira.GrantID()}, other: nil} {
		info, _, err := w.Grant(ctx, op, "", a)
		if err != nil || !slices.Equal(info.Related, want) {
			t.Errorf("%s: related %v, %v; want %v", a, info.Related, err, want)
		}
	}
	apart := newWorld(t)
	apart.consent(jira)
	apart.consent(wiki)
	if info, _, err := apart.Grant(ctx, op, "", jira); err != nil || len(info.Related) != 0 {
		t.Errorf("of another app: related %v, %v", info.Related, err)
	}
}

func TestTheDeathOfARelatedGrantNamesWhoDidIt(t *testing.T) {
	for name, row := range map[string]struct {
		setting setting
		second  string // what the provider does at a second consent
		act     func(*world)
		want    []string
	}{
		"a consent ends the first": {sharedApp, "ends_first", func(w *world) { w.consent(wiki) }, []string{"lapsed after consent of " + wiki.GrantID()}},
		"a refresh ends the other": {sharedApp, "refresh_ends_other", func(w *world) {
			w.consent(wiki)
			w.clock.Advance(2 * time.Hour)
			_, _ = w.ForceRefresh(ctx, op, "", jira) // which ends the other, not this one
			w.clock.Advance(10 * time.Minute)
			w.behave(func(b *atlassiansim.Behaviour) { b.SecondConsent = "independent" })
			w.consent(wiki)
			w.clock.Advance(2 * time.Hour)
			w.token(jira)
			w.clock.Advance(10 * time.Minute)
			w.behave(func(b *atlassiansim.Behaviour) { b.SecondConsent = "refresh_ends_other" })
			w.token(wiki)
		}, []string{"lapsed after refresh of " + wiki.GrantID()}},
		"the person ends it, and nobody else did anything since": {sharedApp, "independent", func(w *world) {
			w.consent(wiki)
			w.clock.Advance(5 * time.Minute)
			if _, err := w.ForceRefresh(ctx, op, "", jira); err != nil { // it outlived that consent
				w.t.Fatal(err)
			}
			if _, err := w.sim.RevokeAccess(atlassiansim.DefaultAccounts()[0].ID, ""); err != nil {
				w.t.Fatal(err)
			}
		}, nil},
		"apps of their own": {func(*world) {}, "ends_first", func(w *world) {
			w.consent(wiki)
			if _, err := w.sim.RevokeAccess(atlassiansim.DefaultAccounts()[0].ID, "client-jira"); err != nil {
				w.t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var log logText
			w := newWorld(t, row.setting, writesLog(&log))
			w.behave(func(b *atlassiansim.Behaviour) { b.SecondConsent = row.second })
			w.consent(jira)
			w.clock.Advance(time.Minute)
			row.act(w)
			w.clock.Advance(time.Minute)
			w.lapse(jira)
			w.settleFollowUps()
			if got := w.details(jira, family.EventInterference); !slices.Equal(got, row.want) {
				t.Errorf("interference %q, want %q", got, row.want)
			}
			if lines := log.lines("level=WARN", "an app of its own", "grant="+jira.String()); len(lines) != len(row.want) {
				t.Errorf("logged %q", lines)
			}
		})
	}
}

// settleFollowUps waits until everything that was noticed has been seen to.
func (w *world) settleFollowUps() {
	w.t.Helper()
	done := make(chan struct{})
	w.AfterFollowUps(func() { close(done) })
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		w.t.Fatal("the follow-ups take too long")
	}
}

func TestScopesThatAConsentTookAwayNameIt(t *testing.T) {
	w := newWorld(t, sharedApp)
	w.behave(func(b *atlassiansim.Behaviour) { b.ConsentScopes = "override" })
	elsewhere := mustAddress("globex/automation/confluence") // whose scopes nobody unites with acme's
	w.consent(jira)
	w.clock.Advance(time.Minute)
	w.consent(elsewhere)
	w.clock.Advance(2 * time.Hour)
	w.token(jira)
	w.settleFollowUps()
	if got := w.details(jira, family.EventScopesChanged); len(got) != 1 {
		t.Fatalf("scopes changed %q", got)
	}
	if got := w.details(jira, family.EventInterference); len(got) != 1 || !strings.Contains(got[0], "lost_scopes after consent of "+elsewhere.GrantID()) {
		t.Errorf("interference %q", got)
	}
}
