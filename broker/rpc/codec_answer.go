package rpc

import (
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// writePlain returns the bytes of an answer. False: protobuf has to look, and to
// say what is wrong.
func writePlain(r *holdfastv1.GetAccessTokenResponse) (mem.BufferSlice, bool) {
	if r == nil || len(r.ProtoReflect().GetUnknown()) > 0 || r.Site != nil && len(r.Site.ProtoReflect().GetUnknown()) > 0 {
		return nil, false
	}
	most := mostBytes(r)
	if mem.IsBelowBufferPoolingThreshold(most) {
		b, ok := appendAnswer(make([]byte, 0, most), r)
		return mem.BufferSlice{mem.SliceBuffer(b)}, ok
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(most)
	b, ok := appendAnswer((*buf)[:0], r)
	if !ok {
		pool.Put(buf)
		return nil, false
	}
	*buf = b
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, true
}

// mostBytes is what an answer can take: of each string its bytes, a tag and a length.
func mostBytes(r *holdfastv1.GetAccessTokenResponse) int {
	const text, timestamp, number = 1 + 5, 1 + 1 + 11 + 11, 1 + 10
	n := 3*text + len(r.AccessToken) + len(r.GrantId) + len(r.ApiBaseUrl) + 4*timestamp + number
	for _, s := range r.Scopes {
		n += text + len(s)
	}
	if r.Site != nil {
		n += text + siteBytes(r.Site)
	}
	return n
}

// siteBytes is what a site takes.
func siteBytes(s *holdfastv1.Site) (n int) {
	for _, one := range [...]string{s.CloudId, s.Name, s.Url} {
		if one != "" {
			n += 1 + protowire.SizeBytes(len(one))
		}
	}
	for _, scope := range s.Scopes {
		n += 1 + protowire.SizeBytes(len(scope))
	}
	return n
}

// appendAnswer has its fields in the order of their numbers, as protobuf has.
func appendAnswer(b []byte, r *holdfastv1.GetAccessTokenResponse) (_ []byte, ok bool) {
	w := plainWriter{b: b, ok: true}
	w.text(1, r.AccessToken)
	w.time(2, r.ExpiresAt)
	w.time(3, r.GuaranteedUntil)
	w.time(4, r.RefreshAfter)
	w.time(5, r.ServerTime)
	w.number(6, r.Generation)
	w.text(7, r.GrantId)
	w.texts(8, r.Scopes)
	if s := r.Site; s != nil {
		w.b = protowire.AppendTag(w.b, 9, protowire.BytesType)
		w.b = protowire.AppendVarint(w.b, uint64(siteBytes(s)))
		w.text(1, s.CloudId)
		w.text(2, s.Name)
		w.text(3, s.Url)
		w.texts(4, s.Scopes)
	}
	w.text(10, r.ApiBaseUrl)
	return w.b, w.ok
}

// plainWriter appends fields; ok: protobuf would have written them.
type plainWriter struct {
	b  []byte
	ok bool
}

func (w *plainWriter) text(number protowire.Number, s string) {
	if s != "" {
		w.one(number, s)
	}
}

// texts are written even if empty.
func (w *plainWriter) texts(number protowire.Number, all []string) {
	for _, s := range all {
		w.one(number, s)
	}
}

func (w *plainWriter) one(number protowire.Number, s string) {
	w.ok = w.ok && utf8.ValidString(s)
	w.b = protowire.AppendTag(w.b, number, protowire.BytesType)
	w.b = protowire.AppendString(w.b, s)
}

func (w *plainWriter) number(number protowire.Number, n uint64) {
	if n != 0 {
		w.b = protowire.AppendTag(w.b, number, protowire.VarintType)
		w.b = protowire.AppendVarint(w.b, n)
	}
}

func (w *plainWriter) time(number protowire.Number, t *timestamppb.Timestamp) {
	if t == nil {
		return
	}
	w.ok = w.ok && len(t.ProtoReflect().GetUnknown()) == 0
	w.b = protowire.AppendTag(w.b, number, protowire.BytesType)
	at := len(w.b)
	w.b = append(w.b, 0)           // its length: at most 22
	w.number(1, uint64(t.Seconds)) // a negative one as protobuf writes it, in ten bytes
	w.number(2, uint64(int64(t.Nanos)))
	w.b[at] = byte(len(w.b) - at - 1)
}
