// Package hostile attacks a server as strangers and as a caller gone bad would,
// while honest callers draw tokens from it. It knows HTTP/2 frames, since no
// client library sends what it sends; it knows no broker.
//
// The attacks are half-open-tcp, half-open-tls, metadata-1mib, header-flood,
// rapid-reset, ping-flood, huge-batch, zip-bomb, garbage, small-frames, slow-readers
// and slow-writers.
package hostile
