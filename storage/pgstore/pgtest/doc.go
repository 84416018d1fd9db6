// Package pgtest runs real PostgreSQL servers for tests: private ones, each with
// a directory, a unix socket and a loopback port of its own, from the binaries
// that the distribution's package installs. What a test started ends with the
// test, and also if the process of the tests is killed.
//
// The server refuses to run as root, so that tests run as root start it as the
// user postgres, which the package makes. It syncs as in production unless
// WithoutSync is given. The superuser is postgres, without a password; all other
// roles need theirs over TCP.
package pgtest
