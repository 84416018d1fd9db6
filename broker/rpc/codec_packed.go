package rpc

import (
	"compress/gzip"
	"io"
)

// maxUnpacked in bytes of a request that comes packed. 2 MiB fit into two
// kilobytes, and are unpacked before anybody asks who calls; a batch of 100 that
// somebody means has a quarter of this.
const maxUnpacked = 64 << 10

// unpacker unpacks requests in gzip, which grpc takes as soon as any part of the
// process imports it. What is not in gzip, or becomes too large, turns into bytes that
// are no request (see codec).
type unpacker struct{}

// Type implements grpc.Decompressor.
func (unpacker) Type() string { return "gzip" }

// Do implements grpc.Decompressor. It never fails, which grpc would answer with INTERNAL.
func (unpacker) Do(r io.Reader) ([]byte, error) {
	if b, err := unpack(r); err == nil && len(b) <= maxUnpacked {
		return b, nil
	}
	return undecodableBytes, nil
}

// unpack returns what is packed in r, of more than maxUnpacked its beginning.
func unpack(r io.Reader) ([]byte, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxUnpacked+1))
}

// undecodableBytes are no protobuf message.
var undecodableBytes = []byte{0xff}
