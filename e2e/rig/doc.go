// Package rig is what the tests below e2e run the real binary with: it builds
// it, writes what an operator would write, starts it, kills it, plays the person
// who consents, and stands between it and its provider when answers are to be
// lost. It owns no test and knows no provider; it reaches the broker by its public
// contract and by signals alone.
package rig

import "time"

// Patience bounds every wait for another process. It is long because two busy
// cores are all that there may be; nothing waits for it when all goes well.
const Patience = time.Minute
