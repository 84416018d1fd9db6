//go:build race

package audit

// mostAllocs of a Write: the race detector makes sync.Pool forget on purpose.
const mostAllocs = 4
