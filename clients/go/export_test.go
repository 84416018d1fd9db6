package holdfast

import (
	"context"
	"net"

	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// StartBroker starts a broker for the examples, which hands out "token-1" for
// an API at apiBase.
func StartBroker(apiBase string) (addr string, stop func()) {
	broker := newFakeBroker()
	broker.apiBase = apiBase
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	holdfastv1.RegisterTokenServiceServer(server, broker)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return listener.Addr().String(), func() {
		server.Stop()
		if err := <-served; err != nil {
			panic(err)
		}
	}
}
