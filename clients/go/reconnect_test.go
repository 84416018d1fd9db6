package holdfast

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestABrokerThatIsBackAfterHoursIsUsedWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := bufconn.Listen(1 << 20)
		server := grpc.NewServer()
		holdfastv1.RegisterTokenServiceServer(server, newFakeBroker())
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		var back atomic.Bool
		client, err := Dial("127.0.0.1:7443", WithPlaintext(), WithGRPC(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if !back.Load() {
				return nil, errors.New("nobody there")
			}
			return listener.DialContext(ctx)
		})))
		if err != nil {
			t.Error(err)
			return
		}
		s := client.TokenSource(t.Context(), grant)
		for range 3 * 60 {
			if _, err := s.Token(); !temporary(err) {
				t.Errorf("without a broker: %v", err)
			}
			pass(time.Minute)
		}
		back.Store(true)
		pass(7 * time.Second) // 5 s and a fifth
		if _, err := s.Token(); err != nil {
			t.Errorf("with a broker again: %v", err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
