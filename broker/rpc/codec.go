package rpc

import (
	"slices"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// codec is grpc's own for protobuf, but for bytes that are no request: grpc answers
// them with INTERNAL before anybody is asked who calls, and an alarm on internal
// errors must not be a stranger's to ring. Such a request, or message of a stream,
// goes on empty and marked, and the interceptor refuses it as invalid. So does one
// of more fields than any request has.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// undecodable marks a request, as an unknown field (number 536870911, the
// greatest, of length 0). Who sends the mark is refused just so.
var undecodable = protoreflect.RawFields{0xfa, 0xff, 0xff, 0xff, 0x0f, 0}

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(*holdfastv1.GetAccessTokenResponse); ok {
		if data, ok := writePlain(r); ok {
			return data, nil
		}
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2. v is new, as grpc gives it.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(*holdfastv1.GetAccessTokenRequest); ok && len(data) == 1 && readPlain(data[0].ReadOnlyData(), r) {
		return nil
	}
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if data.Len() > fewBytes {
		whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer whole.Free()
		if fields(whole.ReadOnlyData(), m.ProtoReflect().Descriptor(), maxFields) < 0 {
			mark(m)
			return nil
		}
		data = mem.BufferSlice{whole}
	}
	if c.CodecV2.Unmarshal(data, v) != nil {
		mark(m)
	}
	return nil
}

func mark(m proto.Message) {
	proto.Reset(m)
	m.ProtoReflect().SetUnknown(undecodable)
}

func marked(req any) bool {
	m, ok := req.(proto.Message)
	return ok && slices.Equal(m.ProtoReflect().GetUnknown(), undecodable)
}

// decoded returns the refusal of a marked request.
func decoded(req any) error {
	if !marked(req) {
		return nil
	}
	return &broker.Error{Reason: broker.ReasonInvalidRequest,
		Message: "the bytes are no request of this rpc, have more fields than any request may, or are packed and too many; generate the client from the contract again, and send requests unpacked"}
}
