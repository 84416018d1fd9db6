// Package storage keeps grants and consents sealed at rest. It owns the words
// that everybody shares (Address, Grant, Consent and their errors) and the
// Store, which seals records, compares and swaps them, and notices whatever was
// changed behind its back. Where the sealed bytes lie is a Backend's business;
// what a grant's state means is package family's.
//
// A store is a directory:
//
//	holdfast-store.json   what the store is, with its wrapped root key (header.go)
//	spill                 settlements that could not be stored (spill_slot.go)
//	(the backend's files) sealed records (record.go) and journal entries
//
// or, for several replicas, it is a database (place.go), which holds header and
// records, and a directory of each replica's own:
//
//	spill                 as above
//	rings                 key rings that may have sealed what waits there (ring_kept.go)
//	fences                the fence log (failover.go)
//
// Everything public about a record is authenticated with it, every record
// knows its key and version, and every journal entry knows the version and the
// fence of its grant. So nobody who can write the files can move a grant to
// another address, turn revoked into active, or put back an old row without
// its journal. Who puts back an old row together with its old journal is not
// found by the store alone; nor is somebody who puts back all of an old copy:
// that is what the witness is for, a file outside of the directory (witness.go).
package storage
