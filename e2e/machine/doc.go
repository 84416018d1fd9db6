// Package machine puts the real holdfast binary on a machine that fails: a disk
// that fills, a file system that turns read-only, a process that stands still, a
// last write that was cut short. It holds tests only.
//
// The volumes are mounted in a mount namespace of their own, so that nothing of
// them outlives a test: a small tmpfs, or an ext4 on a loop device, for which the
// tests must run as root. What is missing fails them; scripts/setup.sh names it.
package machine
