package leaks

import (
	"slices"
	"syscall"
)

// quit ends the broker and prints every goroutine.
const quit = syscall.SIGQUIT

// wants checks that calls were refused for all of these reasons.
func (w *world) wants(reasons []string, want ...string) {
	w.t.Helper()
	slices.Sort(reasons)
	w.t.Logf("refusals: %v", slices.Compact(reasons))
	for _, r := range want {
		if !slices.Contains(reasons, r) {
			w.t.Errorf("no call was refused for the reason %s", r)
		}
	}
}
