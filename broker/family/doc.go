// Package family is the pure state machine of one grant's token family: no
// I/O, no clock, no context, no locks. It owns the rules by which a rotation
// can not lose a family; package broker stores what it returns and sends what
// it announces.
//
// A state is a value. Every transition takes the present one and the time and
// returns the next, with the journal entries that belong into the same
// transaction:
//
//	                Start (first consent)
//	                       |
//	                       v   pair settled
//	+---------------->  ACTIVE  <-----------------+
//	|                  |  |  ^                    |
//	| Replace          |  |  | pair settled       |
//	| (re-consent)     |  |  |                    |
//	|          refused |  |  +------ SUSPECTED ---+
//	|                  |  |            |  ^  | refused, alternates left: try them
//	|                  +--|----------->|  +--+ refused again too early: ask again later
//	|                     |            |  +--+ refused while verdicts are held: proves nothing
//	|                     |            | refused again after ConfirmDelay,
//	|     in doubt, leeway|            | or the last try refused
//	|     over, rule      v            v
//	+------- "lapse" -> LAPSED  <------+
//	|                        |
//	|                        +-> SUSPECTED, by AskAgain, if it was refused
//	|
//	+---- REVOKED     <- Revoke, from every phase: terminal for the family
//	+---- QUARANTINED <- Quarantine, from ACTIVE and SUSPECTED: serves, never spends
//	                     Adopt: back to where it was; Scrub: LAPSED, its tokens removed
//
// Inside ACTIVE and SUSPECTED, one generation's token goes through this:
//
//	          Begin                     Settle: pair
//	UNSENT ----------> ANNOUNCED --------------------------> next generation
//	  ^                 |  |   ^
//	  | not spent,      |  |   | Begin: repeat, same token, while
//	  | transient,      |  |   | now + timeout + margin < first announcement + leeway;
//	  | misconfigured   |  |   | after that an alternate, or one last try
//	  +-----------------+  v   |
//	                    IN DOUBT      (outcome unknown, or the lease ended)
//
// What the rules promise, each shown by a test of this package:
//
//   - One attempt at a time: Begin refuses while a lease runs.
//   - The leeway counts from the first announcement of a generation; a repeat
//     never resets it, and Spend.SendBefore ends before the leeway does.
//   - After the leeway a spent token is sent only as an announced last try.
//   - No generation older than the newest settled one is ever sent.
//   - Settling needs the fence. A late successor becomes an alternate; an
//     attempt of a replaced family can not even become that.
//   - No rotation while the access token has more than one access grace left,
//     unless an operator forces it or the token was seen refused.
//   - While an attempt is open the old access token is served until the first
//     announcement plus the access grace, and no longer.
//   - A refusal is suspected first; only a confirmed one ends a family, and
//     nothing is deleted then.
//   - A refusal while verdicts are held ends nothing, uses no last try up, and
//     drops no token but a spent one; both refusals of a verdict come after it.
//   - A token in doubt that gives way to a sibling, since no repeat can cure it,
//     comes back when the siblings are refused: no token that may be the living
//     one is dropped before it was refused itself.
package family
