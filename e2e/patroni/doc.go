// Package patroni puts replicas of the real holdfast binary on a PostgreSQL that
// Patroni runs: three members with etcd, synchronous replication and automatic
// fail-over, all of them Debian's packages. It holds tests only; README.md says
// what they show and which settings the promise needs.
//
// Everything runs in namespaces of the tests' own (processes, network, mounts),
// for which they must run as root: a member is a network namespace with two
// cables, cutting it off is unplugging them, and when the tests end, in whatever
// way, the kernel ends every process with them. What is missing fails the tests;
// scripts/setup.sh names it.
package patroni
