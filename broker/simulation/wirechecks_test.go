package simulation

import (
	"encoding/base64"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
)

func decode64(b []byte) ([]byte, error) { return base64.RawURLEncoding.DecodeString(string(b)) }

func (w *world) grantOf(token label) *grant {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refreshTokens[token.ID].grant
}

// noteExchange is about a code whose answer came; "": it is something else.
func (w *world) noteExchange(client string) {
	if client == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exchanged[client] = time.Now()
}

// noteAnswer is about an answer that may have been a pair, however it was framed.
func (w *world) noteAnswer(g *grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g.answeredAt = time.Now()
}

// send checks a spend at the moment its first byte leaves.
func (w *world) send(l *life, c *wire, token label) *sending {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.refreshTokens[token.ID]
	g := k.grant
	if g == nil {
		w.fail(1, nil, "%s was sent and is in no durable record", token.ID)
		return nil
	}
	s := &sending{grant: g, token: token, generation: k.generation, family: k.family, at: time.Now()}
	w.note(l, g, "sends %s (generation %d)", token.ID, k.generation)
	w.countPost(g)
	a := l.announced[token.ID]
	if a == nil || a.sent {
		w.fail(1, g, "generation %d was sent without a durable announcement of its own", k.generation)
		return s
	}
	a.sent = true
	if a.attempt.Kind == family.LastTry && !a.forced {
		w.checkAlone(g, a)
	}
	s.kind = a.attempt.Kind.String()
	if a.afterLastTry {
		s.kind = family.LastTry.String()
	}
	w.sends[token.ID] = append(w.sends[token.ID], s)
	if now := l.rules(); !now.Before(a.attempt.LeaseUntil) {
		w.fail(3, g, "generation %d was sent %s after its lease", k.generation, now.Sub(a.attempt.LeaseUntil))
	} else if a.attempt.Kind == family.Repeat && !a.afterLastTry && !now.Before(a.attempt.FirstAnnounced.Add(timing.Leeway)) {
		w.fail(5, g, "a repeat of generation %d was sent after the leeway", k.generation)
	}
	if st := g.durable.State; st.FamilyFirst == k.family && st.Generation > k.generation {
		w.fail(7, g, "generation %d was sent and generation %d is settled", k.generation, st.Generation)
	}
	for other, o := range g.onWire {
		if o.family == s.family && other.life != l && time.Since(o.at) < timing.HTTPTimeout {
			w.fail(2, g, "two attempts at the same time: replica %d sent %s before", other.life.replica.index, time.Since(o.at))
		}
	}
	g.onWire[c] = s
	return s
}

// countPost keeps the rate at which one family is asked about.
func (w *world) countPost(g *grant) {
	now := time.Now()
	w.stats.posts++
	g.posts = append(g.posts, now)
	for len(g.posts) > 0 && now.Sub(g.posts[0]) >= 5*time.Minute {
		g.posts = g.posts[1:]
	}
	minute := 0
	for _, at := range g.posts {
		if now.Sub(at) < time.Minute {
			minute++
		}
	}
	w.stats.mostInMinute = max(w.stats.mostInMinute, minute)
	w.stats.mostInFive = max(w.stats.mostInFive, len(g.posts))
}

// returned is a pair that came back whole to a process that lived.
type returned struct {
	life  *life
	sent  *sending
	token label
	due   time.Time
}

// keptWithin is how long after the last fault a pair in hand may take into the
// store: a broker tries it every half minute at least.
const keptWithin = 45 * time.Second

// answered takes note of how a spend ended for the process that sent it.
func (w *world) answered(l *life, c *wire, s *sending, got []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(s.grant.onWire, c)
	if l.dead.Load() {
		return
	}
	if token, ok := pairIn(got); ok && token.ID != s.token.ID {
		w.returned = append(w.returned, returned{l, s, token, time.Now().Add(keptWithin)})
	}
}

// wasted looks for pairs that came back and were kept nowhere. Called now and
// then, with mu held.
func (w *world) wasted() {
	now := time.Now()
	var rest []returned
	for _, r := range w.returned {
		stopped := max(r.life.frozenUntil.Load(), r.life.storeDownUntil.Load(), w.storeDownUntil.Load(), w.brokenUntil.Load())
		for _, last := range []time.Time{time.Unix(0, stopped), r.sent.grant.unwrittenAt} {
			if due := last.Add(keptWithin); due.After(r.due) {
				r.due = due
			}
		}
		_, kept := w.refreshTokens[r.token.ID]
		st := r.sent.grant.durable.State
		switch {
		case kept, r.life.dead.Load(), st.FamilyFirst != r.sent.family, st.Generation > r.sent.generation+1:
		case now.Before(r.due):
			rest = append(rest, r)
		default:
			w.fail(8, r.sent.grant, "the successor of generation %d came back and was kept nowhere", r.sent.generation)
		}
	}
	w.returned = rest
}
