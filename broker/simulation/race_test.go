//go:build race

package simulation

// defaultRotations with the race detector, which makes them ten times as slow:
// enough for it to see every kind of fault. `make test` plays more without it.
const defaultRotations = 4_000
