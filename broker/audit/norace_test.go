//go:build !race

package audit

// mostAllocs of a Write.
const mostAllocs = 0
