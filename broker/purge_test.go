package broker_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

func (w *world) purge(a storage.Address, dryRun bool) (*broker.PurgeResult, error) {
	return w.Purge(ctx, op, "", a, "the customer left", dryRun)
}

func (w *world) mustPurge(a storage.Address) *broker.PurgeResult {
	w.t.Helper()
	r, err := w.purge(a, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestOnlyAGrantThatHasEndedIsPurged(t *testing.T) {
	for name, row := range map[string]struct {
		bring func(*world)
		want  broker.Reason
	}{
		"active": {func(*world) {}, broker.ReasonInvalidRequest},
		"in doubt": {func(w *world) {
			w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, Count: 1})
			_, _ = w.ForceRefresh(ctx, op, "", jira)
		}, broker.ReasonInvalidRequest},
		"revoked": {func(w *world) { w.revoke() }, ""},
		"lapsed": {func(w *world) {
			if _, err := w.sim.RevokeAccess(atlassiansim.DefaultAccounts()[0].ID, ""); err != nil {
				w.t.Fatal(err)
			}
			w.lapse(jira)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inMemory)
			w.consent(jira)
			row.bring(w)
			for _, dryRun := range []bool{true, false} {
				version := w.grant(jira).Version
				r, err := w.purge(jira, dryRun)
				if row.want != "" {
					var e *broker.Error
					if !errors.As(err, &e) || e.Reason != row.want || e.Field != "grant" || w.grant(jira).Version != version {
						t.Fatalf("got %v, want %s of the field grant", err, row.want)
					}
					continue
				}
				if err != nil || r.Events == 0 || r.Collected == dryRun {
					t.Fatalf("dry run %v: %+v, %v", dryRun, r, err)
				}
				if _, err := w.store.Grant(ctx, jira.GrantID()); errors.Is(err, storage.ErrNotFound) == dryRun {
					t.Fatalf("dry run %v: reading it then: %v", dryRun, err)
				}
			}
			if row.want == "" {
				w.refused(jira, broker.ReasonGrantNotFound)
				if _, err := w.purge(jira, false); broker.ReasonOf(err) != broker.ReasonGrantNotFound {
					t.Errorf("purged twice: %v", err)
				}
			}
		})
	}
}

// A purged grant is forgotten, account and all; what is consented for the address
// next serves at once, and nothing of the old one comes back.
func TestAPurgedAddressIsConsentedAnew(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	w.forceRefresh()
	old := w.token(jira)
	was := w.grant(jira)
	w.revoke()
	w.refused(jira, broker.ReasonGrantRevoked) // it is cached as such
	w.mustPurge(jira)
	w.refused(jira, broker.ReasonGrantNotFound)
	if o := w.visit(w.link(jira).URL, otherAccount()).finish(); o.Status != storage.ConsentDone {
		t.Fatalf("another account's consent: %s", o.Status)
	}
	fresh := w.token(jira)
	g := w.grant(jira)
	if fresh.Token.Equal(old.Token) || g.Account == was.Account || g.State.Generation <= was.State.Generation || g.State.Fence <= was.State.Fence || g.Version <= was.Version {
		t.Fatalf("generation %d, fence %d, version %d; before the purge %d, %d, %d",
			g.State.Generation, g.State.Fence, g.Version, was.State.Generation, was.State.Fence, was.Version)
	}
	if len(g.State.Former) != 0 {
		t.Errorf("it remembers %+v", g.State.Former)
	}
	w.clock.Advance(2 * time.Hour)
	if next := w.token(jira); next.Generation != fresh.Generation+1 {
		t.Errorf("it rotates to %d", next.Generation)
	}
	_, events, err := w.Grant(ctx, op, "", jira)
	if err != nil || events[len(events)-1].Type != family.EventConsented || len(w.details(jira, family.EventRevoked)) > 0 {
		t.Errorf("the journal begins with %+v, %v", events, err)
	}
}

func otherAccount() string { return "&sim_account=" + atlassiansim.DefaultAccounts()[1].ID }

// The token of a refresh that is under way would be nobody's.
func TestAPurgeWaitsForARefreshUnderWay(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 400, Count: 1})
	var call sync.WaitGroup
	call.Go(func() { _, _ = w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira}) })
	waitFor(t, func() bool { return w.refreshes() == 1 })
	w.revoke()
	if _, err := w.purge(jira, false); broker.ReasonOf(err) != broker.ReasonRefreshInProgress {
		t.Fatalf("got %v", err)
	}
	call.Wait()
	w.mustPurge(jira)
}

func TestAPurgeIsRecorded(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	w.revoke()
	before := len(w.auditLines())
	w.mustPurge(jira)
	var got []any
	for _, line := range w.auditLines()[before:] {
		if line["method"] != "PurgeGrant" || line["detail"] != "the customer left" || line["grant"] != jira.String() || line["caller"] != "op" {
			t.Errorf("recorded as %v", line)
		}
		got = append(got, line["outcome"])
	}
	if !slices.Equal(got, []any{"begun", "ok"}) {
		t.Errorf("outcomes %v", got)
	}
}

// Badger, as in production: the whole way from the rpc's method to the files.
func TestAPurgeOnDiskIsCollected(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.consent(wiki)
	w.revoke()
	if r := w.mustPurge(jira); !r.Collected { // a slow machine ran out of the purge's patience: the next look finishes it
		if all, err := w.store.CollectPurged(ctx); err != nil || !all {
			t.Errorf("collected %v, %v after %+v", all, err, r)
		}
	}
	w.token(wiki)
}

func TestGrantsThatHaveEndedAreKeptAsLongAsConfigured(t *testing.T) {
	const day = 24 * time.Hour
	for name, row := range map[string]struct {
		keep            broker.Retention
		lapsed, revoked time.Duration // when each is gone; 0: never
	}{
		"for ever by default": {broker.Retention{}, 0, 0},
		"lapsed for 10 days":  {broker.Retention{Lapsed: 10 * day}, 10 * day, 0},
		"both, each its own":  {broker.Retention{Lapsed: 30 * day, Revoked: 5 * day}, 30 * day, 5 * day},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inMemory, func(w *world) { w.cfg.Retention = row.keep })
			alive := mustAddress("acme/living/jira")
			w.consent(jira)
			w.consent(wiki)
			w.revoke()
			if _, err := w.sim.RevokeAccess(atlassiansim.DefaultAccounts()[0].ID, "client-confluence"); err != nil {
				t.Fatal(err)
			}
			w.lapse(wiki)
			w.consent(alive)
			gone := func(a storage.Address) bool {
				_, err := w.store.Grant(ctx, a.GrantID())
				return errors.Is(err, storage.ErrNotFound)
			}
			start := w.clock.Now()
			for range 40 {
				w.clock.Advance(day)
				before := len(w.auditLines())
				n, err := w.Retire(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if lines := w.auditLines()[before:]; len(lines) != 2*n {
					t.Errorf("%d purged, recorded as %v", n, lines)
				} else if n > 0 && (lines[1]["caller"] != "holdfast" || lines[1]["rule"] != "retention" || lines[1]["outcome"] != "ok") {
					t.Errorf("recorded as %v", lines[1])
				}
				for a, when := range map[storage.Address]time.Duration{wiki: row.lapsed, jira: row.revoked, alive: 0} {
					age := w.clock.Now().Sub(start)
					if want := when > 0 && age > when; age != when && gone(a) != want {
						t.Fatalf("%s after %v: gone %v", a, age, gone(a))
					}
				}
			}
		})
	}
}

func TestNothingIsRetiredThatCanNotBeRecorded(t *testing.T) {
	w := newWorld(t, inMemory, func(w *world) { w.cfg.Retention.Revoked = time.Hour })
	w.consent(jira)
	w.revoke()
	w.clock.Advance(2 * time.Hour)
	if err := w.cfg.Audit.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Retire(ctx); n != 0 || broker.ReasonOf(err) != broker.ReasonAuditUnavailable {
		t.Fatalf("purged %d, %v", n, err)
	}
	if w.grant(jira).State.Phase != family.Revoked {
		t.Error("it is gone")
	}
}

// A new family that the store did not take waits in the spill file; the consent
// that it ends is not taken away from under it, however long ago it was.
func TestAPurgeWaitsForANewFamilyThatIsNotStored(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	b := w.visit(w.link(jira).URL, "")
	w.backend.onSwap(func(c []storage.Change) error {
		if len(c) > 1 { // the consent's end with its grant
			return errFailedSync
		}
		return nil
	})
	if _, err := w.FinishConsent(ctx, b.callback()); broker.ReasonOf(err) != broker.ReasonStoreUnavailable {
		t.Fatalf("got %v", err)
	}
	w.backend.onSwap(nil)
	w.revoke()
	w.clock.Advance(24 * time.Hour)
	var e *broker.Error
	if _, err := w.purge(jira, false); !errors.As(err, &e) || e.Reason != broker.ReasonRefreshInProgress || e.RetryAfter <= 0 {
		t.Fatalf("got %v, want REFRESH_IN_PROGRESS", err)
	}
	w.Sweep(ctx)
	if s := w.health(); s.OpenSettlements != 0 {
		t.Fatalf("%d settlements are open", s.OpenSettlements)
	}
	w.mustPurge(jira)
}

// A link is good for one use, and what says that it was used goes with the grant.
func TestAUsedLinkIsNoBetterAfterAPurge(t *testing.T) {
	for name, made := range map[string]func(*world) string{
		"of a consent that was started": func(w *world) string { return w.link(jira).URL },
		"out of an error":               func(w *world) string { return w.narrow(jira) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, inMemory)
			used := made(w)
			if o := w.visit(used, "").finish(); o.Status != storage.ConsentDone {
				t.Fatal(o.Status)
			}
			old := w.link(jira).URL // made before the purge, and opened by nobody
			w.revoke()
			w.mustPurge(jira)
			for _, wait := range []time.Duration{0, 29 * time.Minute} { // links are good for 30 minutes
				w.clock.Advance(wait)
				for what, url := range map[string]string{"the used link": used, "the link of a consent that went with the grant": old} {
					if _, err := w.BeginConsent(ctx, linkText(url)); err == nil || !strings.Contains(err.Error(), "used already") {
						t.Errorf("%s, %v later: %v", what, wait, err)
					}
					if _, err := w.ConnectPage(ctx, linkText(url)); err == nil || !strings.Contains(err.Error(), "used already") {
						t.Errorf("the page of %s, %v later: %v", what, wait, err)
					}
				}
			}
			w.absent(jira)
			if o := w.visit(w.link(jira).URL, "").finish(); o.Status != storage.ConsentDone {
				t.Errorf("a new link: %s", o.Status)
			}
		})
	}
}
