// Package freeport finds addresses for servers that must be known before they listen.
package freeport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// The ports to choose from: below those from which Linux, macOS and Windows by
// themselves give one to an outgoing connection or a listener on port 0, which
// could take it before the server listens, or while it is down.
const (
	first, last = 20000, 31999
	tries       = 100
)

// Address returns a loopback address at which nobody listened a moment ago. It blocks
// as IsFree does, for each address that it tries.
func Address() (string, error) {
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first+1))) //nolint:gosec // any will do
		if IsFree(addr) {
			return addr, nil
		}
	}
	return "", errors.New("no free port between " + strconv.Itoa(first) + " and " + strconv.Itoa(last) + " on 127.0.0.1")
}

// IsFree says whether nobody listens at an address of this machine. It calls there, for
// up to a second, and does not try to listen: a process that this one starts at that
// moment would hold the socket until its exec, and the address would not be free after all.
func IsFree(addr string) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(context.Background(), "tcp", addr)
	if err == nil {
		_ = c.Close() // nothing was said
		return false
	}
	slow, ok := errors.AsType[net.Error](err)
	return !ok || !slow.Timeout() // one with a full queue answers nothing
}
