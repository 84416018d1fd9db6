// Package pgstore keeps sealed records in PostgreSQL, for one replica or many.
// It owns durability (a swap is reported only after its commit was), the
// grouping of concurrent swaps into one transaction, the schema and its
// migrations, and the translation of everything that the driver says. It sees
// sealed bytes only, and nothing above it knows which driver it uses.
//
// A group of swaps is one transaction. One that only changes records which are
// there is sent at once, in one round trip:
//
//	BEGIN; lock, write what is at its old version, fail unless that was all; fail unless what is only
//	checked is at its version and the pulse has not moved; number the commit; COMMIT
//
// Every other group, and one that failed so, takes two:
//
//	BEGIN; LOCK TABLE ... ROW EXCLUSIVE; lock the rows in order of kind and id; read their versions
//	(the members that conflict are left out)
//	write; number the commit; COMMIT
//
// Three rules carry the rest:
//
// What a caller was told "unknown" about has ended, or never happens, once
// somebody has looked into it or excluded the writers (Reseal). In two round trips
// the table's lock is taken before anybody is told so, and whoever gives up earlier
// is taken out of the group; so a lock that excludes writers waits for every such
// swap of any replica. What is sent at once may hold no lock yet: but it carries
// the pulse, a number in the store's row, and whoever excludes writers or looks
// into a doubt moves the pulse. What comes later finds it moved, having its locks
// by then, and fails.
//
// A transaction is unknown only if its COMMIT may have been received and its
// answer was not. A record of such a transaction is not read before a later
// commit has shown what became of it: a read alone could see neither a commit
// that is still on its way, nor that one which it sees is not yet replicated.
//
// A commit is never cancelled: PostgreSQL reports a commit whose wait for a
// synchronous standby was cancelled as done. Its connection is dropped instead.
//
// LISTEN and NOTIFY carry hints, and the lock of the migrations is an advisory
// one; nothing else rests on either.
package pgstore
