// Package crashpoint names the steps of a rotation, and of what else writes to the
// store, at which a process may die or stand still and nothing may be lost. At marks them in the code of the
// product; a released program has nothing there. Built with the tag
// "crashpoints" the program can be told to end itself at one of them:
//
//	HOLDFAST_CRASHPOINT=name[:nth]   SIGKILL itself at the nth pass (default: the first)
//	HOLDFAST_STOPPOINT=name[:nth]    SIGSTOP itself there, once; somebody else continues it
//	HOLDFAST_PANICPOINT=name[:nth]   panic there, with the value of HOLDFAST_PANIC
//
// A crash is a kill and no panic: a panic runs what was deferred, which no power
// failure and no out-of-memory killer does. A panic is what a bug would do, and
// says what the code had in its hands. A name that is not in Points ends
// the program at its start.
//
// The package imports the standard library alone, and what must stay pure
// (broker/family) does not import it.
package crashpoint

// The points, in the order in which a rotation passes them.
const (
	// AnnounceUnsaved: an attempt was begun in memory; the store does not know of it.
	AnnounceUnsaved = "announce.unsaved"
	// CommitUnsynced: a group of swaps was applied to a transaction that is not
	// committed. Passed by every commit: announcements, settlements, health checks.
	CommitUnsynced = "commit.unsynced"
	// CommitSynced: the commit was synced; who waits for it was not told.
	CommitSynced = "commit.synced"
	// AnnounceDurable: the attempt is durable; nothing was sent.
	AnnounceDurable = "announce.durable"
	// SpendGuard: in the guard, before its last look at the clock: the next
	// thing is the first byte of the request.
	SpendGuard = "spend.guard"
	// SpendWritten: the request was handed to the operating system, or the first
	// 4 KiB of a longer one. Passed by exchanges of codes as well, as is SpendHeaders.
	SpendWritten = "spend.written"
	// SpendHeaders: the status line and headers of the answer have come, its body not yet.
	SpendHeaders = "spend.headers"
	// SpendAnswered: the outcome is known to this process alone.
	SpendAnswered = "spend.answered"
	// SettleDurable: the outcome is durable; nobody was served the new token.
	SettleDurable = "settle.durable"

	// ExchangeAnnounced: the exchange of an authorization code is durably
	// announced; nothing was sent.
	ExchangeAnnounced = "exchange.announced"
	// ExchangeAnswered: the new family is in this process's memory alone.
	ExchangeAnswered = "exchange.answered"
	// ExchangeAdopted: the new family is durable; the browser was not told.
	ExchangeAdopted = "exchange.adopted"

	// RekeyBegun: a new data key is durable and seals from now on; nobody was told.
	RekeyBegun = "rekey.begun"
	// RekeyResealed: some records were durably sealed anew; others are still under
	// the key before.
	RekeyResealed = "rekey.resealed"
	// RekeyClean: nothing is under the key before any more, and it is still in the ring.
	RekeyClean = "rekey.clean"
	// RekeyEnded: it was durably removed; nobody was told.
	RekeyEnded = "rekey.ended"

	// StartAnnounced: the store's witness knows of this start, the store does not.
	StartAnnounced = "start.announced"
	// StartCounted: the store has counted this start, its witness did not confirm it.
	StartCounted = "start.counted"
	// StoreOpened: the store has counted this start; nobody has used it yet.
	StoreOpened = "store.opened"
	// TakeOverFound: an attempt that an earlier process left open was found.
	TakeOverFound = "takeover.found"
	// TakeOverClosed: that attempt was durably closed; it was not repeated yet.
	TakeOverClosed = "takeover.closed"
)

// Point is a step that At marks.
type Point struct {
	// Name as in the environment variables.
	Name string
	// Sent: the provider may have taken the token by then.
	Sent bool
}

// Points returns all of them, in the order of the constants.
func Points() []Point {
	return []Point{
		{AnnounceUnsaved, false}, {CommitUnsynced, true}, {CommitSynced, true}, {AnnounceDurable, false},
		{SpendGuard, false}, {SpendWritten, true}, {SpendHeaders, true}, {SpendAnswered, true}, {SettleDurable, true},
		{ExchangeAnnounced, false}, {ExchangeAnswered, true}, {ExchangeAdopted, true},
		{RekeyBegun, true}, {RekeyResealed, true}, {RekeyClean, true}, {RekeyEnded, true},
		{StartAnnounced, false}, {StartCounted, false}, {StoreOpened, false}, {TakeOverFound, true}, {TakeOverClosed, true},
	}
}
