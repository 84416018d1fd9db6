// Package pgstore keeps sealed records in PostgreSQL, for one replica or many.
// It owns durability (a swap is reported only after its commit was), the
// grouping of concurrent swaps into one transaction, the schema and its
// migrations, and the translation of everything that the driver says. It sees
// sealed bytes only, and nothing above it knows which driver it uses.
//
// A group of swaps is one transaction of two round trips:
//
//	BEGIN; LOCK TABLE ... ROW EXCLUSIVE; lock the rows in order of kind and id; read their versions
//	(the members that conflict are left out)
//	write; number the commit; COMMIT
//
// Three rules carry the rest:
//
// The table's lock is taken before a caller may be told "unknown": whoever gives
// up earlier is taken out of the group. So a lock that excludes writers (Reseal,
// and the look at records in doubt) waits for every swap, of any replica, whose
// outcome somebody does not know.
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
