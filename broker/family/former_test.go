package family

import "pgregory.net/rapid"

// checkLiving wants no access token forgotten that may be alive, unless it was seen refused.
func (w *world) checkLiving(t *rapid.T, before State) {
	living := map[string]bool{w.state.Access.Token.Reveal(): w.state.Access.Rejected}
	for _, f := range w.state.Living(w.timing, w.now) {
		living[f.Token.Reveal()] = true
	}
	for _, f := range before.Living(w.timing, w.now) {
		if !living[f.Token.Reveal()] && len(w.state.Former) < mostFormer {
			t.Fatalf("access token %s of generation %d may live until %v, and nobody knows it any more", f.Token.Reveal(), f.Generation, f.DiesAt)
		}
	}
}
