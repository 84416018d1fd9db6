package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// defaultRecovery is how long every grant has to yield a good token after the
// last kill: its backoff may be a minute by then.
const defaultRecovery = 3 * time.Minute

// Result is what one leg found.
type Result struct {
	// Leg is "lenient" or "strict", after the provider.
	Leg string
	// Kills, and their number by point; those at random moments are "random".
	Kills   int
	ByPoint map[string]int
	// Rotations at the provider, and Answers with a token to callers.
	Rotations int
	Answers   uint64
	// Lost are the grants that yield no good token any more, or the families that
	// the provider ended, if those are more.
	Lost int
	// LateSends are the spent tokens that were sent after the leeway, LastTries
	// the attempts that were announced as such.
	LateSends, LastTries int
	// SavedInLeeway are the spent tokens that a repeat inside the leeway
	// brought a successor of: each of these families was in danger.
	SavedInLeeway int
	// Regressions are answers that should not have been given: a lower
	// generation than before, or another token of the same one.
	Regressions int
	// Unread are the grants whose records or journals can not be read once the data
	// keys were rotated after all the kills, and 1 more if that rotation does not end.
	Unread int
	// TakenUp are the rotations of data keys that a kill had broken off and the next
	// life went on with.
	TakenUp int
	// Findings are sentences about all that is wrong.
	Findings []string
}

// Failed says that the promise was broken.
func (r *Result) Failed() bool {
	return r.Lost > 0 || r.Unread > 0 || r.Regressions > 0 || r.LateSends > r.LastTries
}

// judge lets the broker live once more, undisturbed, and looks at every grant.
func (l *leg) judge(ctx context.Context, r *Result) error {
	if err := l.sim.calm(ctx); err != nil {
		return err
	}
	p, err := l.live(ctx, l.binaries.Released)
	if err != nil {
		return err
	}
	end := time.Now().Add(l.recovery)
	for _, g := range l.grants {
		if err := l.recovered(ctx, g, end); err != nil {
			r.Lost++
			r.Findings = append(r.Findings, fmt.Sprintf("%s is lost: %v", g, err))
		}
	}
	if err := l.judgeKeys(ctx, p, r); err != nil {
		return err
	}
	ledger, err := l.sim.ledger(ctx)
	if err != nil {
		return err
	}
	r.audit(ledger)
	return nil
}

// recovered waits until the grant yields a token that the provider takes, and
// rotates it once more: what it holds must be good for the future as well.
func (l *leg) recovered(ctx context.Context, g *grant, end time.Time) error {
	for {
		err := l.good(ctx, g)
		if err == nil {
			if err = l.force(ctx, g); err == nil {
				if err = l.good(ctx, g); err == nil {
					return nil
				}
			}
		}
		if errors.As(err, new(breachError)) || time.Now().After(end) || !pause(ctx, 500*time.Millisecond) {
			return err
		}
	}
}

// good draws a token and compares it with the ledger.
func (l *leg) good(ctx context.Context, g *grant) error {
	answer, err := l.draw(ctx, g)
	if err != nil {
		return err
	}
	n, err := read(answer.GetAccessToken())
	if err != nil {
		return err
	}
	var f atlassiansim.FamilyEntry
	if err := l.sim.ask(ctx, "GET", "families/"+n.Family, nil, &f); err != nil {
		return err
	}
	switch {
	case f.EndedWhy != "":
		return fmt.Errorf("%s ended: %s", f.ID, f.EndedWhy)
	case f.Stranded:
		return fmt.Errorf("%s is stranded: nobody holds a refresh token of it", f.ID)
	case !slices.Contains(f.LiveAccess, n.Token):
		return fmt.Errorf("%s does not accept %s of generation %d any more", f.ID, n.Token, answer.GetGeneration())
	}
	return nil
}

// audit counts what the ledger says about the whole leg.
func (r *Result) audit(ledger atlassiansim.Ledger) {
	r.Rotations = ledger.Counts.Rotated
	r.LateSends = len(ledger.LateReuses())
	for _, e := range ledger.LateReuses() {
		r.Findings = append(r.Findings, fmt.Sprintf("request %d sent %s after its leeway", e.Request, e.Token))
	}
	ended := 0
	for _, f := range ledger.Families {
		saved := map[string]bool{}
		for _, e := range f.Exchanges {
			if e.Reuse == atlassiansim.ReuseInsideLeeway && e.Outcome == atlassiansim.OutcomeRotated {
				saved[e.Token] = true
			}
		}
		r.SavedInLeeway += len(saved)
		if f.EndedWhy != "" { // nobody here ends one: every end is a loss
			ended++
			r.Findings = append(r.Findings, fmt.Sprintf("the provider ended %s: %s", f.ID, f.EndedWhy))
		}
	}
	r.Lost = max(r.Lost, ended) // most are the same ones
}
