package kmsv2_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	kmsapi "k8s.io/kms/apis/v2"

	"github.com/holdfast-io/holdfast/storage/seal"
	"github.com/holdfast-io/holdfast/storage/seal/kmsv2"
)

// rawCodec sends and receives bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(b []byte, v any) error { *v.(*[]byte) = b; return nil }

func (rawCodec) Name() string { return "proto" }

// said are the answers of a plugin that says anything: to a question for its
// status, and to any other, or the code of an error.
type said struct {
	status, answer []byte
	code           codes.Code
}

// anything serves what now points to, as bytes, until the fuzzing ends.
func anything(f *testing.F, now *said) (socket string) {
	f.Helper()
	dir, err := os.MkdirTemp("", "kms") // a socket's path is short, and that of TempDir has the test's name in it
	if err != nil {
		f.Fatal(err)
	}
	socket = filepath.Join(dir, "kms.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		f.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var asked []byte
		if err := stream.RecvMsg(&asked); err != nil {
			return err
		}
		method, _ := grpc.MethodFromServerStream(stream)
		answer := now.answer
		switch {
		case strings.HasSuffix(method, "/Status"):
			answer = now.status
		case now.code != codes.OK:
			return status.Error(now.code, canary)
		}
		return stream.SendMsg(&answer)
	}))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	f.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			f.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return socket
}

const canary = "provider-text-canary"

// FuzzPlugin answers whatever a plugin may: what is stored of a wrapped key is of
// the protocol's form, no empty key is taken, nothing of the plugin's own text comes
// out, and no answer ends the process.
func FuzzPlugin(f *testing.F) {
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	well := encode(&kmsapi.StatusResponse{Version: "v2", Healthz: "ok", KeyId: "k"})
	wrapped := encode(&kmsapi.EncryptResponse{Ciphertext: []byte("c"), KeyId: "k", Annotations: map[string][]byte{"a.example": []byte("b")}})
	f.Add(well, wrapped, uint32(0))
	f.Add(well, encode(&kmsapi.DecryptResponse{Plaintext: make([]byte, seal.KeySize)}), uint32(0))
	f.Add(well, encode(&kmsapi.DecryptResponse{}), uint32(0))
	f.Add(well, []byte{}, uint32(codes.Unavailable))
	f.Add(well, []byte{0xff}, uint32(codes.Unimplemented))
	f.Add(encode(&kmsapi.StatusResponse{Version: canary, Healthz: canary}), wrapped, uint32(0))
	f.Add([]byte{0xff}, wrapped, uint32(0))
	var now said
	kek, err := kmsv2.New(anything(f, &now))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, state, answer []byte, code uint32) {
		now = said{state, answer, codes.Code(code % 17)}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		got, err := kek.Wrap(ctx, make([]byte, seal.KeySize))
		if err == nil {
			if _, err := kek.Unwrap(ctx, got); errors.Is(err, seal.ErrOpen) {
				t.Errorf("%x was taken as a wrapped key, and is none", got)
			}
		}
		quiet(t, err, state)
		key, err := kek.Unwrap(ctx, wrapped)
		if err == nil && len(key) == 0 {
			t.Error("an empty key was taken")
		}
		quiet(t, err, state)
	})
}

// quiet checks that an error holds no text of the plugin's, but for the version that
// it speaks.
func quiet(t *testing.T, err error, state []byte) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), canary) && !bytes.Contains(state, []byte(canary)) {
		t.Errorf("the plugin's own text is in the error: %v", err)
	}
}
