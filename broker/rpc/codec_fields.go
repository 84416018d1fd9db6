package rpc

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxFields of a request, those of its parts included: a batch of 100 requests
	// with all fields and 100 scopes each has 11,300. Two bytes of a request make an
	// object of more than a hundred, and its rules run on each, so that 2 MiB would
	// become gigabytes before anybody asks for the caller; packed (gzip), 2 KiB would.
	maxFields = 16 << 10
	// fewBytes of a request hold so few fields that nobody counts them.
	fewBytes = 1 << 10
)

// fields takes the fields of a serialized message, and of those within it, from
// left; below 0: there are more. What is malformed is not counted to its end.
func fields(b []byte, of protoreflect.MessageDescriptor, left int) int {
	for len(b) > 0 && left >= 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			break
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			break
		}
		left--
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b)
			left = within(value, of.Fields().ByNumber(number), left)
		}
		b = b[n:]
	}
	return left
}

// within is fields, for the value of a field with a length; nil: an unknown one,
// which is kept as it is.
func within(value []byte, field protoreflect.FieldDescriptor, left int) int {
	switch {
	case field == nil:
		return left
	case field.Message() != nil:
		return fields(value, field.Message(), left)
	case field.IsList() && field.Kind() != protoreflect.StringKind && field.Kind() != protoreflect.BytesKind:
		return left - len(value) // packed numbers
	}
	return left
}
