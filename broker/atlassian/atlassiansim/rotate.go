package atlassiansim

import (
	"fmt"
	"net/http"
	"slices"
)

// identify finds the refresh token sent and its family, and records the facts
// about a token that was spent before, whatever the switches make of them.
func (x *exchanging) identify() {
	st := x.sim.st
	if t := st.refresh[x.req.refreshHash]; t != nil {
		x.sent, x.fam, x.rec.Token = t, t.family, t.ID
		x.noteReuse(t)
		return
	}
	l, ok := st.recognize(x.req.values["refresh_token"])
	if f := st.families[l.Family]; ok && l.Use == "refresh" && f != nil {
		// Only tokens that this is true of are forgotten.
		x.fam, x.rec.Token, x.rec.Reuse, x.rec.Superseded = f, l.ID, ReuseAfterLeeway, true
	}
}

// byRefreshToken rotates: it spends the token sent and makes its successor.
func (x *exchanging) byRefreshToken(app *App) answer {
	s := x.sim
	if x.fam == nil {
		x.rec.Outcome = OutcomeRefused
		return refusal(&s.behaviour)
	}
	if x.fam.Client != app.ClientID {
		return oauthAnswer(http.StatusForbidden, "invalid_grant", fmt.Sprintf(
			"The client associated with this refresh token (%s) is different than the one sent in the request (%s).", x.fam.Client, app.ClientID))
	}
	x.fam.lapse(x.now, &s.behaviour)
	if !x.accepts() {
		x.rec.Outcome = OutcomeRefused
		return familyRefusal(&s.behaviour, x.fam)
	}
	x.endOthers()
	return x.issue(x.sent, true)
}

func (x *exchanging) noteReuse(t *refreshToken) {
	if t.SpentAt.IsZero() {
		return
	}
	x.rec.Reuse = ReuseAfterLeeway
	if x.now.Sub(t.SpentAt) < seconds(x.sim.behaviour.LeewaySeconds) {
		x.rec.Reuse = ReuseInsideLeeway
	}
	x.rec.Superseded = t.superseded
}

// accepts decides whether the token sent may be exchanged, and ends families
// on a reuse that the provider takes for a theft.
func (x *exchanging) accepts() bool {
	s, f := x.sim, x.fam
	if !f.EndedAt.IsZero() || f.PasswordChanged {
		return false
	}
	if x.sent != nil && (x.sent.DeadWhy != "" || x.now.Before(x.sent.KnownAt)) {
		return false
	}
	if x.rec.Reuse == "" {
		return true
	}
	if x.rec.Reuse == ReuseInsideLeeway && (s.behaviour.Reuse == "any" || !x.rec.Superseded) {
		return true
	}
	f.end(x.now, EndReuse)
	if s.behaviour.LateReuse == "client" {
		for _, o := range s.livingOf(f.Account, x.now) {
			if o.Client == f.Client {
				o.end(x.now, EndReuse)
			}
		}
	}
	return false
}

// successor makes the refresh token that follows parent (nil: the family's
// first) and spends parent. A reuse inside the leeway makes a sibling.
func (x *exchanging) successor(parent *refreshToken, at *accessToken, size int) string {
	s := x.sim
	t := &refreshToken{ID: s.st.number("refresh"), IssuedAt: x.now, KnownAt: at.KnownAt, Companion: at.ID, Delivered: x.fault.delivers(), family: x.fam, companion: at}
	if parent != nil {
		t.Parent, t.parent = parent.ID, parent
		parent.spend(x.now)
		x.overtake(parent)
	}
	if s.behaviour.Siblings == "newest" {
		for _, o := range slices.Clone(x.fam.unspent) { // kill shortens it
			o.kill("newer_sibling")
			x.overtake(o)
		}
	}
	text := s.st.mint(label{t.ID, "refresh", x.fam.ID}, size)
	t.Hash = hash(text)
	x.fam.Refresh, s.st.refresh[t.Hash] = append(x.fam.Refresh, t), t
	x.fam.unspent = append(x.fam.unspent, t)
	x.rec.NewRefresh, x.made = t.ID, t
	x.enforceCap()
	return text
}

// overtake leaves the access token that came with t only its grace.
func (x *exchanging) overtake(t *refreshToken) {
	at := t.companion
	if at == nil || x.sim.behaviour.AccessGraceSeconds < 0 {
		return
	}
	// A reuse comes here again and prolongs nothing: cut only shortens.
	at.cut(x.now.Add(seconds(x.sim.behaviour.AccessGraceSeconds)))
}

// replaceCompanion is for answers that keep t in use: the access token that
// came before is as old as after a rotation.
func (x *exchanging) replaceCompanion(t *refreshToken, at *accessToken) {
	x.overtake(t)
	t.Companion, t.companion = at.ID, at
}
