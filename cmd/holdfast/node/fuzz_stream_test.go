package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
)

// streamed are the streaming rpcs that a node serves, by full name, as it lists them
// itself: a new one of the contract is fuzzed without being listed.
func streamed(t testing.TB, conn *grpc.ClientConn) (names []string) {
	t.Helper()
	for name, m := range everyMethod(t, conn) {
		if m.GetServerStreaming() || m.GetClientStreaming() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// end of a message in the input of FuzzStreams.
var end = []byte{0xfe}

// FuzzStreams sends any messages, in any number, into each streaming rpc of a whole
// node, by a caller who may do everything: whatever they are, the answer is no
// internal error, the stream ends, and the node goes on.
func FuzzStreams(f *testing.F) {
	dir, _ := prepared(f)
	// What is no request counts as a hundred calls, and the probe after it is a call too.
	c, _, err := config.Parse(filepath.Join(dir, "holdfast.yaml"), []byte(fileText+"limits: {caller_rate: 1000000}\n"))
	if err != nil {
		f.Fatal(err)
	}
	conn := dial(f, running(f, c), dir, dir)
	names := streamed(f, conn)
	if len(names) < 2 {
		f.Fatalf("the node streams %q only", names)
	}
	for i := range names {
		for _, body := range [][]byte{
			nil, {0xff}, field(1, []byte("holdfast.v1.TokenService")), field(3, []byte("holdfast/v1/token_service.proto")),
			field(4, []byte("holdfast.v1.Grant")), field(7, []byte("*")), field(5, field(1, []byte("holdfast.v1.Grant"))),
			bytes.Join([][]byte{field(7, nil), field(7, nil), {0xff}, field(4, []byte("none"))}, end),
		} {
			f.Add(uint8(i), body)
		}
	}
	health := grpc_health_v1.NewHealthClient(conn)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		messages := bytes.Split(body, end)
		if len(body) > 1<<20 || len(messages) > 20 {
			return
		}
		name := names[int(which)%len(names)]
		if err := exchange(t.Context(), conn, name, messages); err != nil {
			t.Errorf("%s of %x: %v", name, body, err)
		}
		if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Errorf("after %s of %x: %v", name, body, err)
		}
	})
}

// exchange sends the messages and reads what comes, of a stream that stands for
// ever the first answer. The error is one that no message may bring about.
func exchange(ctx context.Context, conn *grpc.ClientConn, name string, messages [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, name, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return err
	}
	for i := range messages {
		if stream.SendMsg(&messages[i]) != nil {
			break // the stream has ended; what is received says why
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		var answer []byte
		switch err := stream.RecvMsg(&answer); status.Code(err) {
		case codes.OK:
			if name == grpc_health_v1.Health_Watch_FullMethodName {
				return nil
			}
		case codes.Internal:
			// One message too many is grpc's own to refuse, and it does so at once.
			if strings.HasPrefix(status.Convert(err).Message(), "cardinality violation") {
				return nil
			}
			return err
		case codes.DataLoss, codes.DeadlineExceeded, codes.Unimplemented:
			return err
		case codes.Unknown:
			if !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		default:
			return nil
		}
	}
}
