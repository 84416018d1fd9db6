package simulation

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// draws is a service that draws g's token all the time, but for quiet spells
// in which nobody but the sweeper looks after the grant.
func (w *world) draws(g *grant, nth int) {
	var saw uint64
	for n := 0; ; n++ {
		d := dice(w.seed, "caller", g.index, nth, n)
		wait := between(d, 5*time.Second, 140*time.Second)
		block := int(time.Since(w.began) / (20 * time.Minute))
		if dice(w.seed, "quiet", g.index, block).IntN(3) == 0 {
			wait = 20*time.Minute - time.Since(w.began)%(20*time.Minute) + wait
		}
		if !w.pause(wait) {
			return
		}
		l := w.anyLife(d)
		if l == nil || l.run() != nil {
			continue
		}
		switch n := d.IntN(1000); {
		case n < 20:
			w.force(l, g)
		case n < 25 && nth == 0:
			w.consent(l, g)
		case n < 30 && nth == 0:
			w.race(l, g)
		case n < 40:
			_, _ = l.broker.ReportRejected(context.Background(), svc, broker.RejectionReport{Address: g.address, Generation: saw, HTTPStatus: 401})
		default:
			saw = w.drawOnce(l, g, d, saw)
		}
	}
}

// drawOnce draws one token and returns the generation that was seen.
func (w *world) drawOnce(l *life, g *grant, d *rand.Rand, saw uint64) uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), between(d, time.Second, 30*time.Second))
	defer cancel()
	req := broker.TokenRequest{Address: g.address}
	switch d.IntN(4) {
	case 0:
		req.MinTTL = between(d, 0, timing.AccessGrace)
	case 1:
		req.IfNotGeneration = saw
	}
	asked := time.Now()
	answer, err := l.broker.AccessToken(ctx, svc, req)
	at := time.Now()
	if l.run() != nil {
		return saw // the answer died with the process
	}
	w.mu.Lock()
	w.stats.draws++
	if err == nil && time.Now().Equal(at) { // not of a process that was stopped with the answer in its hands
		w.handedOut(l, g, answer)
		w.checkFresh(l, g, answer, asked)
	}
	if err == nil {
		saw = answer.Generation
	}
	w.mu.Unlock()
	if broker.ReasonOf(err) == broker.ReasonConsentRequired && err != nil && d.IntN(4) == 0 {
		w.consent(l, g)
	}
	return saw
}

// handedOut checks a token that a caller was given just now. Called with mu held.
func (w *world) handedOut(l *life, g *grant, answer *broker.TokenAnswer) {
	k, ok := w.accessTokens[answer.Token.Reveal()]
	if !ok || k.grant != g {
		w.fail(1, g, "generation %d was handed out before it was durable", answer.Generation)
		return
	}
	st, now := g.durable.State, time.Now()
	if answer.Generation > max(st.Generation, k.generation) { // the latter: of an alternate whose time has come
		w.fail(1, g, "generation %d was handed out and generation %d is durable", answer.Generation, st.Generation)
	}
	if l.seen[g] != g.durable.Version {
		// Another replica has written since, which this one need not know.
		if answer.GuaranteedUntil.Sub(now) > timing.ClockMargin && !w.accepted(answer.Token) {
			w.stats.stale++
		}
		return
	}
	if time.Since(time.Unix(0, l.frozenUntil.Load())) < 10*time.Millisecond {
		return // it was stopped between the record and its own memory of it
	}
	first, open := st.FirstAnnounced()
	if cut := first.Add(timing.AccessGrace); open && st.Generation == k.generation && (!l.rules().Before(cut) || answer.GuaranteedUntil.After(cut)) {
		w.fail(13, g, "the token of generation %d was served until %s, past its first announcement and the access grace", k.generation, answer.GuaranteedUntil.Sub(first))
	}
	if answer.GuaranteedUntil.Sub(now) > timing.ClockMargin && !w.accepted(answer.Token) {
		w.fail(13, g, "generation %d was handed out, guaranteed for %s, and the provider does not take it", k.generation, answer.GuaranteedUntil.Sub(now))
	}
}

// checkFresh: what another replica changed ends the old answer within a second,
// unless the store did not answer meanwhile. Called with mu held.
func (w *world) checkFresh(l *life, g *grant, answer *broker.TokenAnswer, asked time.Time) {
	if w.weather.embedded || answer.Generation >= g.durable.State.Generation {
		return
	}
	bound := g.renewedAt.Add(time.Second)
	for _, until := range []*atomic.Int64{&w.storeDownUntil, &w.brokenUntil, &l.storeDownUntil, &l.frozenUntil} {
		if spell := time.Unix(0, until.Load()).Add(3 * time.Second); spell.After(bound) {
			bound = spell // a question that was lost in it ends after two seconds
		}
	}
	w.stats.elsewhere++
	if asked.After(bound) {
		w.fail(16, g, "generation %d was handed out %s after replica %d could know of generation %d", answer.Generation, asked.Sub(g.renewedAt), l.replica.index, g.durable.State.Generation)
	}
}

// accepted reports whether the provider takes an access token now.
func (w *world) accepted(token secret.String) bool {
	l := labelOf(token.Reveal())
	entry, _ := w.sim.Family(l.Family)
	return slices.Contains(entry.LiveAccess, l.ID)
}

// force is an operator's wish to rotate now, who looks at something else after
// half a minute. The wish is at work in that process until the broker has answered,
// however long the process stands still.
func (w *world) force(l *life, g *grant) {
	w.mu.Lock()
	g.forcing[l]++
	w.note(l, g, "an operator forces a rotation")
	w.mu.Unlock()
	answered := make(chan struct{})
	w.work.Go(func() {
		defer close(answered)
		_, _ = l.broker.ForceRefresh(context.Background(), op, g.id, g.address)
		w.mu.Lock()
		defer w.mu.Unlock()
		g.forcing[l]--
	})
	select {
	case <-answered:
	case <-time.After(30 * time.Second):
	}
}

// race lets a person consent while a rotation of the old family is on its way.
func (w *world) race(l *life, g *grant) {
	w.setRacing(g, true)
	defer w.setRacing(g, false)
	w.work.Go(func() { w.force(l, g) })
	if w.pause(500 * time.Millisecond) {
		w.consent(l, g)
	}
}

func (w *world) setRacing(g *grant, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g.racing = on
}

// anyLife returns one of the processes that run; nil: none does.
func (w *world) anyLife(d *rand.Rand) *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	var running []*life
	for _, r := range w.replicas {
		if l := r.lives[len(r.lives)-1]; l.ready.Load() && !l.dead.Load() {
			running = append(running, l)
		}
	}
	if len(running) == 0 {
		return nil
	}
	return running[d.IntN(len(running))]
}

// consent lets a person consent, at one replica from link to callback.
func (w *world) consent(l *life, g *grant) storage.ConsentStatus {
	status, err := w.tryConsent(l, g)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(l, g, "a person consents: %s %v", status, err)
	return status
}

func (w *world) tryConsent(l *life, g *grant) (storage.ConsentStatus, error) {
	ctx := context.Background()
	link, err := l.broker.StartConsent(ctx, op, broker.ConsentRequest{Address: g.address})
	if err != nil {
		return "", err
	}
	start, err := l.broker.BeginConsent(ctx, link.URL[strings.LastIndex(link.URL, "/")+1:])
	if err != nil {
		return "", err
	}
	page := httptest.NewRecorder()
	w.sim.ServeHTTP(page, httptest.NewRequest(http.MethodGet, start.RedirectURL+"&sim_account="+url.QueryEscape(g.account), nil))
	to, err := url.Parse(page.Header().Get("Location"))
	if err != nil || to.Query().Get("code") == "" {
		return "", errors.New("the provider gave no code")
	}
	o, err := l.broker.FinishConsent(ctx, broker.Callback{
		State: to.Query().Get("state"), Code: secret.New(to.Query().Get("code")),
		Cookie: func(string) secret.String { return start.Cookie },
	})
	if err != nil {
		return "", err
	}
	return o.Status, nil
}
