package broker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

var ctx = context.Background()

func TestAConsentedGrantIsServedFromMemoryUntilItExpires(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	first := w.token(jira)
	if !w.works(first) || first.Generation != 1 || first.Address != jira || first.GrantID != jira.GrantID() {
		t.Fatalf("got %+v", first)
	}
	swaps := w.backend.swaps
	again := w.token(jira)
	if !again.Token.Equal(first.Token) || w.backend.swaps != swaps || w.refreshes() != 0 {
		t.Fatalf("a valid token caused %d swaps and %d refreshes", w.backend.swaps-swaps, w.refreshes())
	}
	if got := again.GuaranteedUntil.Sub(again.ServerTime); got != 10*time.Minute {
		t.Fatalf("guaranteed for %v, want one access grace", got)
	}
	w.clock.Advance(2 * time.Hour)
	next := w.token(jira)
	if next.Generation != 2 || !w.works(next) || w.refreshes() != 1 {
		t.Fatalf("after expiry: generation %d, %d refreshes", next.Generation, w.refreshes())
	}
}

func TestAThousandCallersOfAnExpiredGrantCauseOnePost(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	posts, swaps := w.sim.Ledger().TokenPosts, w.backend.swaps
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 300})
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			answer, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
			if err != nil || answer.Generation != 2 {
				t.Errorf("got %v, %v", answer, err)
			}
		})
	}
	wg.Wait()
	if got := w.sim.Ledger().TokenPosts - posts; got != 1 {
		t.Fatalf("%d POSTs, want 1", got)
	}
	if got := w.backend.swaps - swaps; got != 2 {
		t.Fatalf("%d swaps, want one announcement and one settlement", got)
	}
}

func TestACallerThatLeavesDoesNotEndTheRefresh(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 500, Count: 1})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err := w.AccessToken(short, svc, broker.TokenRequest{Address: jira})
	if broker.ReasonOf(err) != broker.ReasonRefreshInProgress {
		t.Fatalf("got %v, want REFRESH_IN_PROGRESS", err)
	}
	if answer := w.token(jira); answer.Generation != 2 || w.refreshes() != 1 {
		t.Fatalf("generation %d after %d refreshes, want 2 after 1", answer.Generation, w.refreshes())
	}
}

func TestTheAttemptIsDurableBeforeTheSpendAndTheSuccessorBeforeItIsServed(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	var seen []string
	w.backend.onSwap(func([]storage.Change) error {
		g, err := w.store.Grant(ctx, jira.GrantID())
		if err != nil {
			return err
		}
		switch {
		case g.State.Attempt == nil:
			seen = append(seen, "announce")
			if w.refreshes() != 0 {
				t.Error("the token was spent before the attempt was stored")
			}
		default:
			seen = append(seen, "settle")
			if w.refreshes() != 1 {
				t.Error("settled without a spend")
			}
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if answer, err := w.AccessToken(short, svc, broker.TokenRequest{Address: jira}); err == nil {
				t.Errorf("generation %d was served before it was stored", answer.Generation)
			}
		}
		return nil
	})
	w.token(jira)
	if diff := cmp.Diff([]string{"announce", "settle"}, seen); diff != "" {
		t.Fatal(diff)
	}
}

func TestNothingIsSpentWhenTheStoreCanNotBeWritten(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.backend.onSwap(func([]storage.Change) error { return storage.ErrUnavailable })
	w.refused(jira, broker.ReasonStoreUnavailable)
	w.backend.onSwap(nil)
	w.backend.health = errors.New("no space left")
	w.refused(jira, broker.ReasonStoreUnavailable)
	w.backend.health = nil
	if w.refreshes() != 0 {
		t.Fatal("a token was spent")
	}
	w.token(jira)
}

func TestAnAnnouncementOfUnknownOutcomeIsResolvedByReading(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.consent(jira)
			w.clock.Advance(2 * time.Hour)
			once := true
			w.backend.onSwap(func(c []storage.Change) error {
				if !once {
					return nil
				}
				once = false
				if committed {
					if err := w.backend.Backend.Swap(ctx, c, nil); err != nil {
						t.Error(err)
					}
				}
				return storage.ErrUnknown
			})
			if !committed {
				w.refused(jira, broker.ReasonStoreUnavailable)
				if w.refreshes() != 0 {
					t.Fatal("spent without an announcement")
				}
				return
			}
			if answer := w.token(jira); answer.Generation != 2 || w.refreshes() != 1 {
				t.Fatalf("generation %d, %d refreshes", answer.Generation, w.refreshes())
			}
		})
	}
}

func TestASettlementThatCanNotBeStoredIsKeptAndRetried(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	failures := 0
	w.backend.onSwap(func([]storage.Change) error {
		if w.refreshes() == 1 && failures < 3 {
			failures++
			return storage.ErrUnavailable
		}
		return nil
	})
	if answer := w.token(jira); answer.Generation != 2 || failures != 3 || !w.works(answer) || w.refreshes() != 1 {
		t.Fatalf("generation %d after %d failures", answer.Generation, failures)
	}
}

func TestALostAnswerIsRepeatedInsideTheLeeway(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1})
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.clock.Advance(10 * time.Second)
	if answer := w.token(jira); !w.works(answer) {
		t.Fatal("the repeated token does not work")
	}
	for _, f := range w.sim.Ledger().Families {
		for _, e := range f.Exchanges {
			if e.Reuse == atlassiansim.ReuseAfterLeeway {
				t.Fatal("a spent token was sent after the leeway")
			}
		}
	}
}

func TestAfterTheLeewayNothingIsSentUnlessTheProviderIsHealthy(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1})
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.clock.Advance(time.Hour)
	w.refused(jira, broker.ReasonProviderUnavailable)
	if w.refreshes() != 1 {
		t.Fatalf("%d refreshes: a spent token was sent after the leeway", w.refreshes())
	}
	// An operator may: the provider ended the family, and its refusal of the last try is final.
	_, err := w.ForceRefresh(ctx, op, "", jira)
	if broker.ReasonOf(err) != broker.ReasonConsentRequired {
		t.Fatalf("got %v", err)
	}
	e := w.refused(jira, broker.ReasonConsentRequired)
	if e.Metadata["why"] != string(family.LapseLostInDoubt) || !strings.Contains(e.Metadata["link"], "/connect/") {
		t.Fatalf("metadata %v", e.Metadata)
	}
}

func TestAValidTokenIsServedWhileARefreshAheadFails(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, KeepToken: true, Count: 1})
	w.clock.Advance(56 * time.Minute) // inside RefreshAhead
	before := w.token(jira)
	if before.Generation != 1 {
		t.Fatal("a caller waited for a refresh ahead of expiry")
	}
	waitFor(t, func() bool {
		g, err := w.store.Grant(ctx, jira.GrantID())
		return err == nil && g.State.Attempt == nil && g.State.Failures == 1
	})
	if again := w.token(jira); again.Generation != 1 || !again.Token.Equal(before.Token) {
		t.Fatalf("generation %d is served while the refresh is in doubt", again.Generation)
	}
	w.clock.Advance(time.Minute)
	w.token(jira)
	waitFor(t, func() bool { return w.token(jira).Generation == 2 })
}

// waitFor polls for what another goroutine is about to do.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen within 10 s")
		}
	}
}

func TestARefusalIsConfirmedBeforeAVerdict(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, Count: 1})
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.clock.Advance(39 * time.Second)
	if answer := w.token(jira); answer.Generation != 2 {
		t.Fatal("one spurious refusal lost the family")
	}
	// A person revokes the app: refused twice, a verdict.
	if _, err := w.sim.RevokeAccess(atlassiansim.DefaultAccounts()[0].ID, "client-jira"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Hour)
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.clock.Advance(39 * time.Second)
	e := w.refused(jira, broker.ReasonConsentRequired)
	if e.Metadata["why"] != string(family.LapseRefused) {
		t.Fatalf("why %q", e.Metadata["why"])
	}
	posts := w.sim.Ledger().TokenPosts
	for range 5 {
		w.clock.Advance(time.Hour)
		w.refused(jira, broker.ReasonConsentRequired)
	}
	if w.sim.Ledger().TokenPosts != posts {
		t.Fatal("a lapsed family is still retried")
	}
	// The link in the error leads back.
	if o := w.visit(w.refused(jira, broker.ReasonConsentRequired).Metadata["link"], "").finish(); o.Status != storage.ConsentDone {
		t.Fatalf("consent ended %s", o.Status)
	}
	if answer := w.token(jira); answer.Generation != 3 || !w.works(answer) {
		t.Fatalf("generation %d: want 3, which goes on after the re-consent", answer.Generation)
	}
}

func TestTwoClientSecretsAreValidInTurn(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.setSecrets("jira", "rotated-away", "secret-jira")
	w.clock.Advance(2 * time.Hour)
	if answer := w.token(jira); answer.Generation != 2 {
		t.Fatal("the second secret was not tried")
	}
	w.setSecrets("jira", "wrong")
	w.clock.Advance(2 * time.Hour)
	e := w.refused(jira, broker.ReasonAppPaused)
	if !strings.Contains(e.Message, `app "jira" is paused`) || e.RetryAfter <= 0 {
		t.Fatalf("got %v", e)
	}
	posts := w.sim.Ledger().TokenPosts
	w.refused(jira, broker.ReasonAppPaused)
	if w.sim.Ledger().TokenPosts != posts {
		t.Fatal("a paused app was asked again at once")
	}
	// The operator mends the file; nothing else is to be done.
	w.setSecrets("jira", "secret-jira")
	w.clock.Advance(6 * time.Second)
	if answer := w.token(jira); answer.Generation != 3 {
		t.Fatalf("generation %d", answer.Generation)
	}
}

func TestARestartFindsEverythingAgain(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	before := w.token(jira)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.openStore()
	w.startBroker()
	if after := w.token(jira); !after.Token.Equal(before.Token) || after.Generation != 1 {
		t.Fatal("the token did not survive the restart")
	}
	w.clock.Advance(2 * time.Hour)
	if w.token(jira).Generation != 2 {
		t.Fatal("the family did not survive the restart")
	}
}

func TestTokensOf64KiBGoThrough(t *testing.T) {
	w := newWorld(t)
	if err := w.sim.SetBehaviour(func(b *atlassiansim.Behaviour) { b.TokenBytes = 64 << 10 }); err != nil {
		t.Fatal(err)
	}
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	if answer := w.token(jira); answer.Token.Len() != 64<<10 || !w.works(answer) {
		t.Fatalf("got %d bytes", answer.Token.Len())
	}
}
