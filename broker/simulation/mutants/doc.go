// Package mutants breaks one invariant of the product at a time, in a copy of
// its source, and demands that the simulation finds out. A check that cannot
// fail proves nothing. It holds tests only.
package mutants
