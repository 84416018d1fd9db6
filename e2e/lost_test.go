package e2e

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The counterpart forgives nothing: what an attempt of unknown outcome becomes
// is the operator's choice, and each is put to the test.
var rules = []string{"lapse", "last_try"}

func TestFiftyCallersCauseOneRotation(t *testing.T) {
	t.Parallel()
	f := startFleet(t, "lapse", "2", "500ms")
	f.consentAll(t, subject)
	first, err := f.Token(t.Context(), jira, subject)
	if err != nil {
		t.Fatal(err)
	}
	before := len(f.p.exchanges(t, jira.ID))
	<-time.After(time.Until(first.GetExpiresAt().AsTime()))

	const callers = 50
	generations := make(chan uint64, callers)
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			got, err := f.Token(t.Context(), jira, subject)
			if err != nil {
				t.Error(err)
			}
			generations <- got.GetGeneration()
		})
	}
	running.Wait()
	close(generations)
	for g := range generations {
		if g != first.GetGeneration()+1 {
			t.Errorf("a caller got generation %d, want %d", g, first.GetGeneration()+1)
		}
	}
	if n := len(f.p.exchanges(t, jira.ID)) - before; n != 1 {
		t.Errorf("the provider counts %d rotations, want 1", n)
	}
}

// A process that dies at any moment, under load, may lose what was under way at
// a provider that forgives nothing, and nothing else; and it says so.
func TestKilledUnderLoadLosesNothingSilently(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			subjects := []string{"one", "two", "three"}
			f := startFleet(t, rule, "2", "5m") // each renews every second
			s := f.consentAll(t, subjects...)
			const kills = 3
			lost := 0
			for range kills {
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				for _, subject := range subjects {
					f.load(ctx, &running, subject)
				}
				<-time.After(500 * time.Millisecond)
				select {
				case <-f.relay.Next():
				case <-time.After(2 * time.Second): // none may be left that lives
				}
				<-time.After(rand.N(50 * time.Millisecond)) // before its answer, or after
				s.Kill(t)
				cancel()
				running.Wait()

				s = f.Serve(t)
				f.Rotate(t, jira, calm) // the provider is well, says another grant
				for _, subject := range subjects {
					if f.decided(t, subject) {
						f.checkLives(t, subject)
					} else {
						lost++
						f.checkLostInDoubt(t, subject)
					}
				}
			}
			f.checkSends(t)
			t.Logf("%d kills, %d families lost in doubt", kills, lost)
		})
	}
}

func TestALostAnswerIsNeverSilent(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			f := startFleet(t, rule, "2", "500ms")
			f.consentAll(t, subject)
			first := f.expire(t)
			before := len(f.p.exchanges(t, jira.ID))
			f.relay.Plan(rig.AnswerLost)
			if got, err := f.Token(t.Context(), jira, subject); err == nil {
				t.Fatalf("a call got generation %d, though the answer was lost; the first was %d", got.GetGeneration(), first.GetGeneration())
			}
			sent := 1
			if rule == "last_try" {
				if g, _ := f.Show(t, jira, subject); !g.GetInDoubt() || g.GetPhase() != holdfastv1.GrantPhase_GRANT_PHASE_ACTIVE {
					t.Errorf("after the lost answer the grant is %v, in doubt: %t; want active and in doubt", g.GetPhase(), g.GetInDoubt())
				}
				if n := len(f.p.exchanges(t, jira.ID)) - before; n != 1 {
					t.Fatalf("the provider counts %d exchanges before anything says that it is well, want the lost one", n)
				}
				f.Rotate(t, jira, calm)
				sent = 3 // the lost one, calm's, and the last try
			}
			if f.decided(t, subject) {
				t.Error("the family lives, though the provider has rotated it away")
			}
			if n := len(f.p.exchanges(t, jira.ID)) - before; n != sent {
				t.Errorf("the provider counts %d exchanges since the answer was lost, want %d", n, sent)
			}
			f.checkLostInDoubt(t, subject)
			f.checkLives(t, calm)
			f.checkSends(t)
		})
	}
}

// The request left and never arrived: where the rule allows a last try, it
// finds the token unspent.
func TestALostRequestLosesNothingWithALastTry(t *testing.T) {
	t.Parallel()
	f := startFleet(t, "last_try", "2", "500ms")
	f.consentAll(t, subject)
	first := f.expire(t)
	f.relay.Plan(rig.RequestLost)
	if _, err := f.Token(t.Context(), jira, subject); err == nil {
		t.Fatal("a call got a token, though the request was lost")
	}
	f.Rotate(t, jira, calm)
	if !f.decided(t, subject) {
		t.Fatal("the family was given up, though its token had never reached the provider")
	}
	f.checkLives(t, subject)
	if g, _ := f.Show(t, jira, subject); g.GetGeneration() <= first.GetGeneration() {
		t.Errorf("the generation is %d, and was %d before the request was lost", g.GetGeneration(), first.GetGeneration())
	}
	if n := len(f.tries); n != 1 {
		t.Errorf("%d last tries were announced, want 1", n)
	}
	f.checkSends(t)
}

// Where nothing could be written, nothing is in doubt, whatever the rule.
func TestAProviderThatCannotBeReachedLosesNothing(t *testing.T) {
	t.Parallel()
	f := startFleet(t, "lapse", "2", "500ms")
	f.consentAll(t, subject)
	first := f.expire(t)
	f.relay.Down()
	if _, err := f.Token(t.Context(), jira, subject); rig.Reason(err) != "PROVIDER_UNAVAILABLE" {
		t.Errorf("a token while the provider cannot be reached: %v; want PROVIDER_UNAVAILABLE", err)
	}
	if g, _ := f.Show(t, jira, subject); g.GetInDoubt() || g.GetPhase() != holdfastv1.GrantPhase_GRANT_PHASE_ACTIVE {
		t.Errorf("the grant is %v, in doubt: %t; want active and not in doubt", g.GetPhase(), g.GetInDoubt())
	}
	f.relay.Up(t)
	rig.Until(t, "the grant recovers by itself", func() bool {
		got, err := f.Token(t.Context(), jira, subject)
		return err == nil && got.GetGeneration() > first.GetGeneration()
	})
	f.checkLives(t, subject)
	f.checkSends(t)
}

// expire draws a token and waits until it has run out.
func (f *fleet) expire(t *testing.T) *holdfastv1.GetAccessTokenResponse {
	t.Helper()
	got, err := f.Token(t.Context(), jira, subject)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(got.GetExpiresAt().AsTime()))
	return got
}
