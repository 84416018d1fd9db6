// Package crash owns the crash run of the benchmark: the released binary, on a
// real disk, under load, killed again and again, and compared with the ledger
// of a simulated provider that lives on.
//
// Of each leg, one against a lenient and one against a strict provider:
//
//   - "holdfast sim" runs as a process of its own and outlives every kill.
//     Access tokens live four seconds, so that rotations run all the time, and
//     many answers are slow or lost.
//   - "holdfast serve" runs over a Badger store in a directory of its own.
//     Callers draw tokens of several consented grants all the time, an operator
//     forces rotations, and the process dies by SIGKILL: the released binary at
//     random moments, some of them while it starts; one built with the tag
//     crashpoints at each named point (package crashpoint), at a random pass of
//     it. It is started again at once, and the callers go on.
//   - In some lives the data keys are rotated, and at each point of that one dies.
//     After the last kill the rotation must come to its end, another one too, and
//     a process that was started after both must read every record and journal.
//   - After the last kill every grant must yield a token that the provider
//     accepts now, of a family that lives, and must be able to rotate once more.
//
// Two things are checked at every single answer: the generation of a grant is
// never lower than one that was handed out before the call began, and a
// generation never comes with two different tokens. Either would mean that a
// token had been served before it was durable.
//
// A plan is drawn from the seed: which deaths, in which order, at which pass,
// after how long. What the machine does in between is its own.
//
// A SIGKILL leaves what the kernel holds in its page cache: that a sync comes
// before the byte that depends on it is shown by another test of this package,
// which traces the system calls of the released binary.
package crash
