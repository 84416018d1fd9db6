package rpc

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

func marshalled(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestUsualRequestsAreReadByHand: what is read by hand is what protobuf reads, and
// what callers usually send is.
func TestUsualRequestsAreReadByHand(t *testing.T) {
	for name, row := range map[string]struct {
		req    *holdfastv1.GetAccessTokenRequest
		byHand bool
	}{
		"hot":             {hotRequest(), true},
		"empty":           {&holdfastv1.GetAccessTokenRequest{}, true},
		"by id":           {&holdfastv1.GetAccessTokenRequest{Grant: &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: "grt_x"}}, Site: "é", IfNotGeneration: 70000}, true},
		"long segments":   {&holdfastv1.GetAccessTokenRequest{Grant: byAddressOf(strings.Repeat("s", 200))}, true},
		"min_ttl of 0":    {&holdfastv1.GetAccessTokenRequest{MinTtl: &durationpb.Duration{}}, true},
		"min_ttl of 10m":  {&holdfastv1.GetAccessTokenRequest{MinTtl: durationpb.New(10*time.Minute + time.Millisecond)}, true},
		"a minute less":   {&holdfastv1.GetAccessTokenRequest{MinTtl: durationpb.New(-time.Minute)}, false},
		"a great number":  {&holdfastv1.GetAccessTokenRequest{IfNotGeneration: 1 << 28}, false},
		"no selector":     {&holdfastv1.GetAccessTokenRequest{Grant: &holdfastv1.GrantSelector{}}, false},
		"more than usual": {&holdfastv1.GetAccessTokenRequest{Site: strings.Repeat("a", plainLongest)}, false},
	} {
		got := &holdfastv1.GetAccessTokenRequest{}
		if ok := readPlain(marshalled(t, row.req), got); ok != row.byHand {
			t.Errorf("%s: read by hand: %v", name, ok)
		} else if ok && !proto.Equal(got, row.req) {
			t.Errorf("%s: %v, want %v", name, got, row.req)
		}
		viaCodec := &holdfastv1.GetAccessTokenRequest{}
		if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(marshalled(t, row.req))}, viaCodec); err != nil || !proto.Equal(viaCodec, row.req) {
			t.Errorf("%s: the codec reads %v, error %v", name, viaCodec, err)
		}
	}
}

func byAddressOf(subject string) *holdfastv1.GrantSelector {
	s := byAddress()
	s.GetAddress().Subject = subject
	return s
}

// FuzzPlainRequest: whatever bytes come, what is read by hand is what protobuf reads,
// and a message that is not read so is left alone.
func FuzzPlainRequest(f *testing.F) {
	hot := marshalled(f, hotRequest())
	f.Add(hot)
	f.Add(slices.Concat(hot, hot))
	f.Add([]byte{0x0a, 0x02, 0x0a, 0x00, 0x28, 0x80, 0x00})
	f.Add([]byte{0x0a, 0x04, 0x0a, 0x00, 0x12, 0x00})                   // both names
	f.Add([]byte{0x22, 0x08, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f, 8, 1}) // nanos of -1
	f.Add([]byte{0x12, 0x02, 0xc3, 0x28})                               // no UTF-8
	f.Add([]byte{0x0a, 0x04, 0x0a, 0x02, 0xc3, 0x28})                   // in an id
	f.Add([]byte{0x0a, 0x06, 0x12, 0x04, 0x0a, 0x02, 0xc3, 0x28})       // in an address
	f.Add([]byte{0x22, 0x02, 0x08, 0x01, 0x22, 0x02, 0x10, 0x01})       // a duration in two pieces
	f.Add([]byte{0x0a, 0x05, 0x12, 0x03, 0x0a, 0x01, 'a', 0x0a, 0x05, 0x12, 0x03, 0x12, 0x01, 'b'})
	f.Add([]byte(undecodable))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := &holdfastv1.GetAccessTokenRequest{}
		if !readPlain(data, got) {
			if !proto.Equal(got, &holdfastv1.GetAccessTokenRequest{}) {
				t.Fatalf("left behind: %v", got)
			}
			return
		}
		want := &holdfastv1.GetAccessTokenRequest{}
		if err := proto.Unmarshal(data, want); err != nil || !proto.Equal(got, want) {
			t.Fatalf("by hand %v, protobuf %v, error %v", got, want, err)
		}
	})
}

// TestAnswersAreWrittenByHand holds the bytes against protobuf's, on an answer that
// has every field of the contract, also those that join it later, and on what the
// broker answers.
func TestAnswersAreWrittenByHand(t *testing.T) {
	full := &holdfastv1.GetAccessTokenResponse{}
	fill(full.ProtoReflect())
	now := time.Unix(1700000000, 123456789)
	for name, r := range map[string]*holdfastv1.GetAccessTokenResponse{
		"every field": full,
		"empty":       {},
		"of a broker": tokenOut(&broker.TokenAnswer{
			Token: secret.New(strings.Repeat("t", 2500)), ExpiresAt: now, GuaranteedUntil: now, RefreshAfter: now, ServerTime: now,
			Generation: 1 << 40, GrantID: "grt_x", Scopes: []string{"read:jira-work", "", "é"}, APIBaseURL: "https://api",
			Site: &storage.Site{CloudID: "c", Name: "n", URL: "u", Scopes: []string{"s"}},
		}),
		"before 1970": {ExpiresAt: &timestamppb.Timestamp{Seconds: -1, Nanos: -1}, ServerTime: &timestamppb.Timestamp{}, Site: &holdfastv1.Site{}},
	} {
		data, ok := writePlain(r)
		if !ok || !bytes.Equal(data.Materialize(), marshalled(t, r)) {
			t.Errorf("%s: by hand %v\n%x, protobuf\n%x", name, ok, data.Materialize(), marshalled(t, r))
		}
		if most := mostBytes(r); most < data.Len() {
			t.Errorf("%s: %d bytes, though at most %d were expected", name, data.Len(), most)
		}
		data.Free()
	}
}

// fill sets every field, to two members where there may be several.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !f.IsList() {
			m.Set(f, something(m.NewField(f), f))
			continue
		}
		list := m.Mutable(f).List()
		list.Append(something(list.NewElement(), f))
		list.Append(something(list.NewElement(), f))
	}
}

func something(v protoreflect.Value, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.MessageKind:
		fill(v.Message())
		return v
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(strings.Repeat(string(f.Name()), 20))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(999999999)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(1700000000)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1 << 60)
	}
	panic("a field of a new kind: " + f.Kind().String())
}

// TestAnyAnswerIsWrittenAsProtobufWould draws answers; text that is none is left to
// protobuf, which refuses it.
func TestAnyAnswerIsWrittenAsProtobufWould(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "\xff", strings.Repeat("t", 5000), strings.Repeat("u", 128)}))
	at := rapid.Custom(func(t *rapid.T) *timestamppb.Timestamp {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		return &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(t, "seconds"), Nanos: rapid.Int32().Draw(t, "nanos")}
	})
	rapid.Check(t, func(t *rapid.T) {
		r := &holdfastv1.GetAccessTokenResponse{
			AccessToken: text.Draw(t, "token"), ExpiresAt: at.Draw(t, "expires"), GuaranteedUntil: at.Draw(t, "guaranteed"),
			RefreshAfter: at.Draw(t, "refresh"), ServerTime: at.Draw(t, "server"), Generation: rapid.Uint64().Draw(t, "generation"),
			GrantId: text.Draw(t, "grant"), Scopes: rapid.SliceOfN(text, 0, 3).Draw(t, "scopes"), ApiBaseUrl: text.Draw(t, "url"),
		}
		if rapid.Bool().Draw(t, "site") {
			r.Site = &holdfastv1.Site{CloudId: text.Draw(t, "cloud"), Scopes: rapid.SliceOfN(text, 0, 3).Draw(t, "more scopes")}
		}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
		got, ok := writePlain(r)
		if ok != (err == nil) {
			t.Fatalf("by hand: %v, protobuf: %v", ok, err)
		}
		if ok && !bytes.Equal(got.Materialize(), want) {
			t.Fatalf("by hand\n%x, protobuf\n%x", got.Materialize(), want)
		}
	})
}

func TestAnAnswerWithUnknownFieldsIsLeftToProtobuf(t *testing.T) {
	unknown := protoreflect.RawFields{0xfa, 0x01, 0}
	for name, change := range map[string]func(*holdfastv1.GetAccessTokenResponse) proto.Message{
		"answer": func(r *holdfastv1.GetAccessTokenResponse) proto.Message { return r },
		"site":   func(r *holdfastv1.GetAccessTokenResponse) proto.Message { r.Site = &holdfastv1.Site{}; return r.Site },
		"time": func(r *holdfastv1.GetAccessTokenResponse) proto.Message {
			r.ServerTime = &timestamppb.Timestamp{}
			return r.ServerTime
		},
	} {
		r := &holdfastv1.GetAccessTokenResponse{}
		change(r).ProtoReflect().SetUnknown(unknown)
		data, err := newCodec().Marshal(r)
		if err != nil || !bytes.Equal(data.Materialize(), marshalled(t, r)) {
			t.Errorf("%s: %x, error %v", name, data.Materialize(), err)
		}
	}
}

// BenchmarkCodec sets the two ways side by side.
func BenchmarkCodec(b *testing.B) {
	request := mem.BufferSlice{mem.SliceBuffer(marshalled(b, hotRequest()))}
	answer := &holdfastv1.GetAccessTokenResponse{}
	fill(answer.ProtoReflect())
	for name, c := range map[string]interface {
		Marshal(v any) (mem.BufferSlice, error)
		Unmarshal(data mem.BufferSlice, v any) error
	}{"hand": newCodec(), "protobuf": newCodec().CodecV2} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Unmarshal(request, &holdfastv1.GetAccessTokenRequest{}); err != nil {
					b.Fatal(err)
				}
				data, err := c.Marshal(answer)
				if err != nil {
					b.Fatal(err)
				}
				data.Free()
			}
		})
	}
}
