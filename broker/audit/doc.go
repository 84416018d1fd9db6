// Package audit owns the record of every hand-out, refusal and admin act: one
// JSON object a line, chained by hashes, with signed checkpoints. It decides
// nothing (package policy does) and never sees a token.
//
// # The chain
//
// A line is
//
//	{"seq":N,"time":"...",FIELDS,"hash":"HASH"}
//
// where N counts the lines of the chain from 1 over files and restarts, and HASH is
// the SHA-256, in unpadded base64url, of the previous line's 32 bytes of hash (zeros
// for the first) followed by this line's own bytes before `,"hash":`. What was
// changed, removed, moved or put in breaks it at that place.
//
// Lines with the field "audit" are the log's own:
//
//	begun       the first line of a chain; unchained_bytes of an earlier Holdfast may stand before it
//	opened      the log was opened again
//	file        the first line of a further file, with prev, the hash that it goes on from, and
//	            removed, the full files that are removed as configured as soon as it is written
//	recovered   what a crash or a failed write left: torn_bytes before this line are no
//	            records (torn_sha256 is of them), records refused_from to refused_to stand in the
//	            log though their calls were refused; the first line of a file says it itself
//	checkpoint  a signed note (golang.org/x/mod/sumdb/note) of the line before it
//
// Who can write the file can compute hashes as well: only a checkpoint that is kept
// elsewhere, or whose signature is checked, says that the lines before it are the original ones.
//
// # Writing
//
// Callers of Write hand over encoded records and wait for the one writing
// goroutine, which writes all that wait with one write(2). If that fails or
// takes longer than Config.Patience, all of them get an error, and so do those who
// come while it lasts: their calls must be refused. It recovers by itself.
package audit
