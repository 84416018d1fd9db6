// Package chaos lets several replicas of the real binary live through disasters
// of processes, networks and databases under steady load, and judges what became
// of the grants: by the ledger of the simulated provider, by the grants' journals,
// and by every answer that a caller got.
//
// A Cluster is the replicas with a fault proxy between each and each database
// server, a Load what asks them for tokens and revokes grants, a Judge what is
// said about both. Whoever has another database brings its servers' addresses and
// disasters of its own.
package chaos
