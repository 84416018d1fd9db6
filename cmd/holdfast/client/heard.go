package client

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/internal/unreached"
)

// advice is how a person corrects what is wrong on the way to the broker.
var advice = unreached.Advice{
	Certificate: "give --cert and --key",
	CA:          "give the file of the CA that did by --ca",
	Name:        "give a name that it is for by --addr or --server-name",
}

// heard are credentials whose connections fail with what the broker said last.
type heard struct {
	credentials.TransportCredentials
}

// ClientHandshake implements credentials.TransportCredentials.
func (h heard) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	return unreached.Heard(secured), info, nil
}

// Clone implements credentials.TransportCredentials.
func (h heard) Clone() credentials.TransportCredentials { return heard{h.TransportCredentials.Clone()} }

func (s *Settings) way() unreached.Way {
	w := unreached.Way{Target: s.Addr, Cert: s.Cert, CA: s.CA, Advice: advice}
	if s.TokenFile != "" {
		w.Cert = ""
	}
	if s.ServerName != "" {
		w.Name = "the name " + s.ServerName
	}
	return w
}

// told makes calls that no broker answered say what is wrong on the way there; the code stays.
func told(way unreached.Way) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, conn, opts...)
		f, failed := Explain(err)
		if !failed || f.Reason != "" || f.Code == codes.Canceled {
			return err
		}
		return status.Error(f.Code, way.Explain(f.Message))
	}
}
