package rpc

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"google.golang.org/grpc/metadata"

	"github.com/holdfast-io/holdfast/broker"
)

// requestIDHeader is the metadata key under which a client may name its call.
const requestIDHeader = "x-request-id"

// call is one call under way: the context that its handler gets and the caller
// in one allocation. It is never pooled, since work may outlive the call.
type call struct {
	context.Context
	caller broker.Caller
	wire   *wire // nil in tests without one
	// ours: a broker decides what the caller of the stream may do. asked: it was
	// asked, and has recorded what it refused.
	ours, asked bool
}

type callKey struct{}

// Value implements context.Context.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// callerOf returns the caller that the interceptor found. Without one it is the
// zero Caller, which is nobody.
func callerOf(ctx context.Context) broker.Caller {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.caller
	}
	return broker.Caller{}
}

// requestID returns the client's own id of the call if it is sane, or a new one.
func requestID(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, requestIDHeader); len(v) == 1 && saneID(v[0]) {
		return v[0]
	}
	return newRequestID()
}

// saneID reports whether an id may go into logs and the audit record as it is:
// 1 to 64 of the characters A-Z a-z 0-9 . _ : -.
func saneID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// newRequestID returns 16 random characters: 80 bits, so that ids of years of
// calls do not meet. It only has to be unique, nobody is let in for knowing it.
func newRequestID() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	var random, id [16]byte
	binary.NativeEndian.PutUint64(random[:8], rand.Uint64()) //nolint:gosec // an id, no secret; see above
	binary.NativeEndian.PutUint64(random[8:], rand.Uint64()) //nolint:gosec // likewise
	for i, b := range random {
		id[i] = alphabet[b&31]
	}
	return string(id[:])
}
