package rpc

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// longestBatch has every field at its longest.
func longestBatch() *holdfastv1.BatchGetAccessTokensRequest {
	segment, batch := strings.Repeat("s", 128), &holdfastv1.BatchGetAccessTokensRequest{}
	for range 100 {
		batch.Requests = append(batch.Requests, &holdfastv1.GetAccessTokenRequest{
			Grant: &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: &holdfastv1.GrantAddress{
				Tenant: segment, Subject: segment, Product: segment, Name: segment,
			}}},
			Site: strings.Repeat("s", 512), RequiredScopes: slices.Repeat([]string{segment}, 100),
			MinTtl: durationpb.New(time.Hour - time.Nanosecond), IfNotGeneration: 1 << 63, Purpose: segment[:64],
		})
	}
	return batch
}

func TestTheLongestRequestIsDecoded(t *testing.T) {
	sent, err := proto.Marshal(longestBatch())
	if err != nil {
		t.Fatal(err)
	}
	if len(sent) > maxRequest || len(sent) < maxRequest/2 {
		t.Errorf("it has %d bytes", len(sent))
	}
	got := &holdfastv1.BatchGetAccessTokensRequest{}
	var pieces mem.BufferSlice // as they come in frames
	for piece := range slices.Chunk(sent, 16<<10) {
		pieces = append(pieces, mem.SliceBuffer(piece))
	}
	if err := newCodec().Unmarshal(pieces, got); err != nil || !proto.Equal(got, longestBatch()) {
		t.Errorf("it came out otherwise; error %v", err)
	}
	if left := fields(sent, got.ProtoReflect().Descriptor(), maxFields); left < maxFields/8 {
		t.Errorf("%d of %d fields are left", left, maxFields)
	}
}

// TestLittleThatWouldBecomeMuchIsNotDecoded: nothing is allocated for the fields.
func TestLittleThatWouldBecomeMuchIsNotDecoded(t *testing.T) {
	scopes := bytes.Repeat([]byte{0x1a, 0}, 20_000) // of one request: field 3, empty
	for name, sent := range map[string][]byte{
		"empty requests":   bytes.Repeat([]byte{0x0a, 0}, 1<<20-512),
		"scopes":           append([]byte{0x0a, 0xc0, 0xb8, 2}, scopes...), // field 1, of 40,000 bytes
		"a field repeated": bytes.Repeat([]byte{0x0a, 4, 0x0a, 2, 0x12, 0}, 10_000),
		"unknown fields":   bytes.Repeat([]byte{0x98, 1, 0}, 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			got := &holdfastv1.BatchGetAccessTokensRequest{}
			objects := testing.AllocsPerRun(3, func() {
				if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(sent)}, got); err != nil {
					t.Fatal(err)
				}
			})
			if len(got.GetRequests()) > 0 || decoded(got) == nil {
				t.Errorf("%d requests came out; refused: %v", len(got.GetRequests()), decoded(got))
			}
			if objects > 20 {
				t.Errorf("%v objects for it", objects)
			}
		})
	}
}

func TestWhatWouldBecomeMuchIsRefusedAsInvalid(t *testing.T) {
	r := newRig(t)
	batch := &holdfastv1.BatchGetAccessTokensRequest{Requests: make([]*holdfastv1.GetAccessTokenRequest, 500_000)}
	for i := range batch.Requests {
		batch.Requests[i] = &holdfastv1.GetAccessTokenRequest{}
	}
	for name, options := range map[string][]grpc.CallOption{"plain": nil, "packed": {grpc.UseCompressor(gzip.Name)}} {
		_, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).BatchGetAccessTokens(t.Context(), batch, options...)
		info, _, _ := details(err)
		if status.Code(err) != codes.InvalidArgument || info.GetReason() != string(broker.ReasonInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestALongBatchIsRefusedAtLittleCost: what may be decoded is not judged to its end.
func TestALongBatchIsRefusedAtLittleCost(t *testing.T) {
	validator, err := newValidator()
	if err != nil {
		t.Fatal(err)
	}
	batch := &holdfastv1.BatchGetAccessTokensRequest{Requests: slices.Repeat([]*holdfastv1.GetAccessTokenRequest{{}}, maxFields)}
	e := &edge{validator: validator}
	objects := testing.AllocsPerRun(3, func() { err = e.valid(&call{}, batch) })
	if !strings.Contains(fmt.Sprint(err), "100") {
		t.Errorf("it does not say how long a batch may be: %v", err)
	}
	if objects > 5000 {
		t.Errorf("%v objects for its refusal", objects)
	}
}

func TestPackedRequestsAreUnpackedToABound(t *testing.T) {
	pack := func(b []byte) []byte {
		var out bytes.Buffer
		z := stdgzip.NewWriter(&out)
		_, err := z.Write(b)
		if err = errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	small, largest := []byte("a request"), make([]byte, maxUnpacked)
	for name, row := range map[string]struct{ sent, want []byte }{
		"small":       {pack(small), small},
		"the largest": {pack(largest), largest},
		"too large":   {pack(make([]byte, maxUnpacked+1)), undecodableBytes},
		"no gzip":     {small, undecodableBytes},
		"cut off":     {pack(largest)[:50], undecodableBytes},
		"nothing":     {nil, undecodableBytes},
	} {
		if got, err := (unpacker{}).Do(bytes.NewReader(row.sent)); err != nil || !bytes.Equal(got, row.want) {
			t.Errorf("%s: %d bytes, error %v", name, len(got), err)
		}
	}
	client := holdfastv1.NewTokenServiceClient(newRig(t).dial(mapped))
	if _, err := client.GetAccessToken(t.Context(), hotRequest(), grpc.UseCompressor(gzip.Name)); err != nil {
		t.Errorf("a packed call: %v", err)
	}
}

// FuzzFields: whatever comes, packed or not, decoding makes no more of it than was
// counted, and the codec never fails or panics.
func FuzzFields(f *testing.F) {
	f.Add(marshalled(f, &holdfastv1.BatchGetAccessTokensRequest{Requests: []*holdfastv1.GetAccessTokenRequest{hotRequest(), {}}}))
	f.Add(bytes.Repeat([]byte{0x0a, 4, 0x0a, 2, 0x12, 0}, 300))
	f.Add([]byte{0x0a, 2, 0x1b, 0x1c}) // a group
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		got := &holdfastv1.BatchGetAccessTokensRequest{}
		const most = 1 << 20
		counted := most - fields(data, got.ProtoReflect().Descriptor(), most)
		if proto.Unmarshal(data, got) == nil && parts(got.ProtoReflect()) > counted {
			t.Fatalf("%d fields were counted, and %d decoded", counted, parts(got.ProtoReflect()))
		}
		unpacked, err := unpacker{}.Do(bytes.NewReader(data))
		if err != nil || len(unpacked) > maxUnpacked {
			t.Fatalf("%d bytes unpacked, error %v", len(unpacked), err)
		}
		for _, b := range [][]byte{data, unpacked, slices.Concat(make([]byte, fewBytes), data)} {
			if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, got); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// parts counts the fields that are set, and those within them.
func parts(m protoreflect.Message) (n int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		each := []protoreflect.Value{v}
		if f.IsList() {
			each = each[:0]
			for i := range v.List().Len() {
				each = append(each, v.List().Get(i))
			}
		}
		for _, one := range each {
			n++
			if f.Message() != nil {
				n += parts(one.Message())
			}
		}
		return true
	})
	return n
}
