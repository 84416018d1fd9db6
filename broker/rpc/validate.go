package rpc

import (
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// contract lists the files that hold the contract's services.
func contract() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		holdfastv1.File_holdfast_v1_token_service_proto,
		holdfastv1.File_holdfast_v1_consent_service_proto,
		holdfastv1.File_holdfast_v1_admin_service_proto,
	}
}

// isOurs reports whether the contract defines the service of that full name.
func isOurs(service string) bool {
	for _, file := range contract() {
		if file.Services().ByName(protoreflect.FullName(service).Name()) != nil &&
			protoreflect.FullName(service).Parent() == file.Package() {
			return true
		}
	}
	return false
}

// newValidator compiles the rules of every request, so that a rule that does not
// compile stops the start and no call waits for a compilation.
func newValidator() (protovalidate.Validator, error) {
	var requests []protoreflect.MessageDescriptor
	for _, file := range contract() {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				requests = append(requests, methods.Get(j).Input())
			}
		}
	}
	v, err := protovalidate.New(protovalidate.WithMessageDescriptors(requests...), protovalidate.WithDisableLazy())
	if err != nil {
		return nil, fmt.Errorf("compiling the contract's validation rules: %w", err)
	}
	return v, nil
}

// brief is a request that breaks the same rules, of a batch that is too long no
// more than shows it: each of its requests may break rules of its own.
func brief(req proto.Message) proto.Message {
	const longest = 100
	if batch, ok := req.(*holdfastv1.BatchGetAccessTokensRequest); ok && len(batch.GetRequests()) > longest {
		return &holdfastv1.BatchGetAccessTokensRequest{Requests: batch.GetRequests()[:longest+1]}
	}
	return req
}

// invalid returns the refusal of a request that breaks a rule, or nil. The
// violations name fields and rules, never values.
func invalid(v protovalidate.Validator, req any, requestID string) (*refusal, error) {
	msg, ok := req.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("validating a %T: no protobuf message", req)
	}
	err := v.Validate(brief(msg))
	if err == nil {
		return nil, nil
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return nil, fmt.Errorf("validating a %T: %w", req, err)
	}
	r := &refusal{
		reason:   broker.ReasonInvalidRequest,
		metadata: map[string]string{"request_id": requestID},
	}
	var text strings.Builder
	for i, b := range broken.Violations {
		one := violation{protovalidate.FieldPathString(b.Proto.GetField()), described(b)}
		r.violations = append(r.violations, one)
		if i < 3 {
			if i > 0 {
				text.WriteString("; ")
			}
			text.WriteString(one.field + ": " + one.description)
		}
	}
	if more := len(broken.Violations) - 3; more > 0 {
		fmt.Fprintf(&text, "; and %d more", more)
	}
	r.message = text.String()
	return r, nil
}
