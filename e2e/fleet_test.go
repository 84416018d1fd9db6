package e2e

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// fleet is a broker with several grants of one app at the counterpart, with a
// relay before its token endpoint. The accounts differ, so that a last try of
// one grant endangers no other.
type fleet struct {
	*broker
	p     *provider
	relay *rig.Relay
	// tries are the ids of all last tries that were announced so far.
	tries map[string]bool
}

// calm is the subject whose grant no test troubles: it is what says that the
// provider is well.
const calm = "calm"

// quick are durations that make a doubt due within seconds.
const quick = "http_timeout: 3s\nlease: 8s\nclock_margin: 1s\n"

// startFleet consents for calm and for the subjects. The access tokens live for
// accessTTL; grace is how long before their end a call in use renews them, twice over.
func startFleet(t *testing.T, rule, accessTTL, grace string) *fleet {
	t.Helper()
	where := rig.FreeAddresses(t)
	p := startProvider(t, where.Callback(), jira.Scopes, []string{"OIDC_ACCESS_TTL=" + accessTTL}, clientOf(jira))
	relay := rig.NewRelay(t, strings.TrimPrefix(p.issuer, "http://"))
	d := rig.Deploy(t, rig.Setup{Where: where, Apps: []rig.App{jira}, Build: rig.Build{Plain: true},
		Provider: counterpart(p.issuer, relay.URL, rule, quick) + "  access_grace: " + grace + "\n"})
	return &fleet{broker: &broker{d}, p: p, relay: relay, tries: map[string]bool{}}
}

// consentAll starts the server and takes a person through the consent of each.
func (f *fleet) consentAll(t *testing.T, subjects ...string) *rig.Server {
	t.Helper()
	s := f.Serve(t)
	for _, subject := range append(subjects, calm) {
		f.Consent(t, jira, subject, account(subject))
	}
	return s
}

func account(subject string) string { return "person-of-" + subject }

// load draws tokens for the subject until ctx ends, as fast as they come.
func (f *fleet) load(ctx context.Context, running *sync.WaitGroup, subject string) {
	running.Go(func() {
		for ctx.Err() == nil {
			call, cancel := context.WithTimeout(ctx, 3*time.Second)
			_, _ = f.Token(call, jira, subject) // what becomes of the grant is what counts
			cancel()
		}
	})
}

// decided waits until nothing about the grant is open any more, and reports
// whether its family lives.
func (f *fleet) decided(t *testing.T, subject string) (lives bool) {
	t.Helper()
	rig.Until(t, "the grant of "+subject+" is decided", func() bool {
		// A service that goes on asking, as services do.
		_, _ = f.Token(t.Context(), jira, subject)
		g, events := f.Show(t, jira, subject)
		for _, id := range rig.LastTries(events) {
			f.tries[id] = true
		}
		lives = g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_ACTIVE
		return g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_LAPSED || lives && !g.GetInDoubt() && !g.GetAttemptRunning()
	})
	return lives
}

// checkLives checks that the provider takes the grant's token.
func (f *fleet) checkLives(t *testing.T, subject string) {
	t.Helper()
	got, err := f.Token(t.Context(), jira, subject)
	if err != nil {
		t.Fatalf("a token of %s: %v", subject, err)
	}
	if status, who := f.p.subject(t, got.GetAccessToken()); status != http.StatusOK || who != account(subject) {
		t.Errorf("userinfo answered %d, %q to the token of %s; want 200, %q", status, who, subject, account(subject))
	}
}

// checkLostInDoubt checks that the family ended with the true reason, said to
// services and to operators, and that a consent helps.
func (f *fleet) checkLostInDoubt(t *testing.T, subject string) {
	t.Helper()
	g, events := f.Show(t, jira, subject)
	if g.GetLapseReason() != holdfastv1.LapseReason_LAPSE_REASON_LOST_IN_DOUBT || !rig.Has(events, holdfastv1.GrantEventType_GRANT_EVENT_TYPE_IN_DOUBT) {
		t.Errorf("%s is %v for the reason %v with the journal %v; want lapsed as LOST_IN_DOUBT, after an attempt in doubt",
			subject, g.GetPhase(), g.GetLapseReason(), events)
	}
	_, err := f.Token(t.Context(), jira, subject)
	if rig.Reason(err) != "CONSENT_REQUIRED" || rig.Why(err) != "LOST_IN_DOUBT" {
		t.Errorf("a token of %s: %v (why %q); want CONSENT_REQUIRED, why LOST_IN_DOUBT", subject, err, rig.Why(err))
	}
	f.Consent(t, jira, subject, account(subject))
	f.checkLives(t, subject)
}

// checkSends compares with the provider's own records: no refresh token came
// twice, but by as many announced last tries; and nothing else ended a grant there.
func (f *fleet) checkSends(t *testing.T) {
	t.Helper()
	sends, again := map[string]int{}, 0
	for _, l := range f.p.exchanges(t, jira.ID) {
		if l.GrantType != "refresh_token" {
			continue
		}
		if sends[l.Sent]++; sends[l.Sent] > 1 {
			again++
		}
	}
	if again > len(f.tries) {
		t.Errorf("%d refresh tokens were sent again, with %d announced last tries", again, len(f.tries))
	}
	if n := f.p.grantsRevoked(t); n > len(f.tries) {
		t.Errorf("the provider ended %d grants, with %d announced last tries", n, len(f.tries))
	}
	t.Logf("the provider saw %d refresh tokens, %d of them again", len(sends), again)
}
