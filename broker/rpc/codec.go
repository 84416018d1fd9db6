package rpc

import (
	"slices"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-io/holdfast/broker"
)

// codec is grpc's own for protobuf, but for bytes that are no request: grpc answers
// them with INTERNAL before anybody is asked who calls, and an alarm on internal
// errors must not be a stranger's to ring. Such a request, or message of a stream,
// goes on empty and marked, and the interceptor refuses it as invalid.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// undecodable marks a request, as an unknown field (number 536870911, the
// greatest, of length 0). Who sends the mark is refused just so.
var undecodable = protoreflect.RawFields{0xfa, 0xff, 0xff, 0xff, 0x0f, 0}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	m, ok := v.(proto.Message)
	if !ok {
		return err
	}
	proto.Reset(m)
	m.ProtoReflect().SetUnknown(undecodable)
	return nil
}

// decoded returns the refusal of a marked request.
func decoded(req any) error {
	m, ok := req.(proto.Message)
	if !ok || !slices.Equal(m.ProtoReflect().GetUnknown(), undecodable) {
		return nil
	}
	return &broker.Error{Reason: broker.ReasonInvalidRequest, Message: "the bytes are no request of this rpc; generate the client from the contract again"}
}
