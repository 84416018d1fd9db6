package node

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
)

// rawCodec sends and receives bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(b []byte, v any) error { *v.(*[]byte) = b; return nil }

func (rawCodec) Name() string { return "proto" }

// rpcs are the unary ones of the contract and of grpc's own services, by full
// name, found by descriptor: a new one is fuzzed without being listed.
func rpcs() (names []string) {
	protoregistry.GlobalFiles.RangeFilesByPackage("holdfast.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				if m := service.Methods().Get(j); !m.IsStreamingServer() && !m.IsStreamingClient() {
					names = append(names, "/"+string(service.FullName())+"/"+string(m.Name()))
				}
			}
		}
		return true
	})
	return names
}

// field is a field of a message on the wire.
func field(n protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
}

// FuzzRequests sends bytes as requests of every rpc to a whole node, over mutual
// TLS, by a caller who may do everything: whatever they are, the answer is no
// internal error, and the node goes on.
func FuzzRequests(f *testing.F) {
	names := rpcs()
	address := append(append(field(1, []byte("acme")), field(2, []byte("bot"))...), field(3, []byte("jira"))...)
	for i := range names {
		for _, body := range [][]byte{
			nil, {0xff}, field(1, field(1, address)), field(1, address), field(1, field(1, field(1, address))),
			field(1, field(2, []byte("grt_abcdefghijklmnopqrstuvwxyz"))), field(1, []byte("jira")), field(2, []byte{0xc0, 0xff}),
			append(field(1, field(2, address)), 0x10, 1, 0x18, 1, 0x20, 1),
			protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1<<63),
		} {
			f.Add(uint8(i), body)
		}
	}
	dir, _ := prepared(f)
	text := strings.Replace(fileText, "{name: dev, admin: true}", `{name: dev, admin: true, grants: ["*/*/*", "*/*/*/*"], consents: ["*/*/*", "*/*/*/*"]}`, 1) +
		"limits: {caller_rate: 1000000}\n"
	c, _, err := config.Parse(filepath.Join(dir, "holdfast.yaml"), []byte(text))
	if err != nil {
		f.Fatal(err)
	}
	conn := dial(f, running(f, c), dir, dir)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		if len(body) > 1<<20 {
			return
		}
		name := names[int(which)%len(names)]
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var answer []byte
		err := conn.Invoke(ctx, name, &body, &answer, grpc.ForceCodec(rawCodec{}))
		switch code := status.Code(err); code {
		case codes.Internal, codes.Unknown, codes.Unimplemented, codes.DataLoss, codes.DeadlineExceeded:
			t.Errorf("%s of %x: %v", name, body, err)
		}
	})
}
