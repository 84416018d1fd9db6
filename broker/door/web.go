package door

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// visit is a connection of an HTTP server.
type visit struct {
	conn *Conn
	// requests that are being answered on it.
	requests atomic.Int64
}

type visitKey struct{}

// Guard makes server, which is to serve on a listener of this package, know a
// connection while it answers a request on it, and only then: who opens one,
// sends half a request or keeps one open without asking is a stranger. It must
// be called before the server is started, when its handler is set.
func Guard(server *http.Server) {
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if outer, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
			c = outer.NetConn()
		}
		if ours, ok := c.(*Conn); ok {
			return context.WithValue(ctx, visitKey{}, &visit{conn: ours})
		}
		return ctx
	}
	inner := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := r.Context().Value(visitKey{}).(*visit)
		if !ok {
			inner.ServeHTTP(w, r)
			return
		}
		v.requests.Add(1)
		defer func() {
			if v.requests.Add(-1) == 0 {
				v.conn.Stranger()
			}
		}()
		if v.conn.Known("") != nil {
			return // it is closed
		}
		inner.ServeHTTP(w, r)
	})
}
