// Package seal owns the cryptography of the store: the key ring that seals
// records, the keys derived from the store's root key, and the KEK that wraps
// the root key. What is sealed, and with which associated data, is the storage
// package's business.
//
//	KEK (file, KMS, Vault)     wraps      root key, 32 bytes, in the store's header
//	root key                   HKDF       ring key, backend key, link key, header key
//	ring key                   seals      the key ring, a record of the store
//	key ring (Tink AES256-GCM) seals      every secret part; each blob begins with its key's id
//
// A KEK sees nothing but the root key, since a KMS takes less than 1 kB and
// mostly no associated data. A new KEK therefore means one new header, and a
// new data key means one more key in the ring; neither rewrites a record.
package seal
