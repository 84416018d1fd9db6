// Package leaks shows that nothing that is secret gets out of the broker. It runs
// the real binary between a tap on its way to the provider, which learns every
// token, code and secret as they come by, and a scanner that looks for each of
// them, whole and in pieces and in whatever encoding, in all that the broker
// wrote: answers, pages, logs, metrics, files, backups, and what it says when it
// dies. It holds tests only.
package leaks
