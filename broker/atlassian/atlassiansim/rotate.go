package atlassiansim

import (
	"fmt"
	"net/http"
)

// byRefreshToken rotates: it spends the token sent and makes its successor.
func (x *exchanging) byRefreshToken(app *App) answer {
	s := x.sim
	t := s.st.refresh[hash(x.req.values["refresh_token"])]
	if t == nil {
		x.rec.Outcome = OutcomeRefused
		return refusal(&s.behaviour)
	}
	if t.family.Client != app.ClientID {
		return oauthAnswer(http.StatusForbidden, "invalid_grant", fmt.Sprintf(
			"The client associated with this refresh token (%s) is different than the one sent in the request (%s).", t.family.Client, app.ClientID))
	}
	t.family.lapse(x.now, &s.behaviour)
	if !x.accepts(t) {
		x.rec.Outcome = OutcomeRefused
		return refusal(&s.behaviour)
	}
	return x.issue(t, true)
}

// noteReuse records the facts about a token that was spent before, whatever
// the switches make of them.
func (x *exchanging) noteReuse(t *refreshToken) {
	if t.SpentAt.IsZero() {
		return
	}
	x.rec.Reuse = ReuseAfterLeeway
	if x.now.Sub(t.SpentAt) < seconds(x.sim.behaviour.LeewaySeconds) {
		x.rec.Reuse = ReuseInsideLeeway
	}
	x.rec.Superseded = t.superseded()
}

// accepts decides whether t may be exchanged, and ends families on a reuse
// that the provider takes for a theft.
func (x *exchanging) accepts(t *refreshToken) bool {
	s := x.sim
	if !t.family.EndedAt.IsZero() || t.DeadWhy != "" {
		return false
	}
	if t.SpentAt.IsZero() {
		return true
	}
	if x.rec.Reuse == ReuseInsideLeeway && (s.behaviour.Reuse == "any" || !x.rec.Superseded) {
		return true
	}
	s.endFamilies(x.now, EndReuse, func(f *family) bool {
		return f == t.family || s.behaviour.LateReuse == "client" && f.Client == t.family.Client && f.Account == t.family.Account
	})
	return false
}

// successor makes the refresh token that follows parent (nil: the family's
// first) and spends parent. A reuse inside the leeway makes a sibling.
func (x *exchanging) successor(parent *refreshToken, at *accessToken, size int) string {
	s := x.sim
	t := &refreshToken{ID: s.st.number("refresh"), IssuedAt: x.now, Companion: at.ID, Delivered: x.fault.delivers(), family: x.fam}
	if parent != nil {
		t.Parent = parent.ID
		if parent.SpentAt.IsZero() {
			parent.SpentAt = x.now
		}
		x.overtake(parent)
	}
	if s.behaviour.Siblings == "newest" {
		for _, o := range x.fam.Refresh {
			if o.SpentAt.IsZero() && o.DeadWhy == "" {
				o.DeadWhy = "newer_sibling"
				x.overtake(o)
			}
		}
	}
	text := mint(t.ID, "refresh", size)
	t.Hash = hash(text)
	x.fam.Refresh, s.st.refresh[t.Hash] = append(x.fam.Refresh, t), t
	x.rec.NewRefresh, x.made = t.ID, t
	return text
}

// overtake leaves the access token that came with t only its grace.
func (x *exchanging) overtake(t *refreshToken) {
	at := x.fam.accessByID(t.Companion)
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
	t.Companion = at.ID
}
