// Package badgerstore keeps sealed records in Badger, for one process. It owns
// durability (a swap is reported only after it was synced), the grouping of
// concurrent swaps into one synced commit, and the checks that keep Badger from
// losing records silently when a file is damaged. It sees sealed bytes only;
// Badger's own encryption, which is not authenticated, hides keys and indexes.
//
// Keys in Badger, with integers big-endian and every value preceded by a CRC
// of key and value:
//
//	'r' kind id        record: version, due time, public part, sealed part
//	'd' due id         due index of grants: empty
//	'h' id             the number of the grant's newest journal entry
//	'j' id 0x00 slot   a journal entry; slot is its number modulo 64, so that a
//	                   new entry replaces the one that falls out
//	'c'                the number of the newest commit
package badgerstore
