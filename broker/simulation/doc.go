// Package simulation proves, in virtual time, that no family is lost: brokers
// with their sweepers, their stores over one backend and the simulated
// provider live through hours of faults in milliseconds, and the provider's
// ledger, every durable record and every byte on the wire are checked against
// the invariants while it happens.
//
// It holds tests only; README.md says what is simulated, what is checked, and
// how a failing seed is played again. Package mutants below it proves that
// each invariant, once it is broken in the product's source, makes the
// simulation fail.
package simulation
