package holdfast

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
)

// newConn makes the connection, and finds a target that can lead nowhere: grpc-go takes any
// text for a name to resolve, and would say at each call that the broker can not be reached.
// What begins with a resolver's scheme is that resolver's to judge.
func newConn(target string, options []grpc.DialOption) (*grpc.ClientConn, error) {
	wrong := fmt.Errorf("target %q: want host:port, e.g. %q, without a scheme or a path", target, "holdfast.internal:7443")
	if _, err := url.Parse("dns:///" + target); err != nil {
		return nil, wrong
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, err
	}
	scheme, _, _ := strings.Cut(conn.CanonicalTarget(), ":")
	own, _, chosen := strings.Cut(target, ":")
	if chosen && strings.EqualFold(own, scheme) || hostPort(target) {
		return conn, nil
	}
	_ = conn.Close() // it has connected to nothing
	return nil, wrong
}

func hostPort(target string) bool {
	host, port, err := net.SplitHostPort(target)
	if err != nil || host == "" || strings.ContainsAny(host, " \t\r\n/@?#%") {
		return false
	}
	if strings.Contains(host, ":") {
		if _, err := netip.ParseAddr(host); err != nil {
			return false
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
