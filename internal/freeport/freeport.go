// Package freeport finds addresses for servers that must be known before they listen.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports to choose from: below those from which Linux, macOS and Windows by
// themselves give one to an outgoing connection or a listener on port 0, which
// could take it before the server listens, or while it is down.
const (
	first, last = 20000, 31999
	tries       = 100
)

// Address returns a loopback address at which nobody listened a moment ago.
func Address() (string, error) {
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first+1))) //nolint:gosec // any will do
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port between " + strconv.Itoa(first) + " and " + strconv.Itoa(last) + " on 127.0.0.1")
}
