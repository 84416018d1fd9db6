package node

import "runtime/debug"

// bulkMemory is what a verb that writes a whole store keeps to, in bytes. The
// compactions behind such a load hold little and leave much behind: without a
// bound the collector let a load of a million grants grow to 548 MiB.
const bulkMemory = 384 << 20

// BoundMemory has the collector keep this process small while it writes a whole
// store. It is for verbs that do nothing else.
func BoundMemory() { debug.SetMemoryLimit(bulkMemory) }
