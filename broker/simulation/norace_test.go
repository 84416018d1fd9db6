//go:build !race

package simulation

// defaultRotations of a run that names no number.
const defaultRotations = 20_000
