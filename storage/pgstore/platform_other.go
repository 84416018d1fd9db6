//go:build !linux

package pgstore

import (
	"syscall"
	"time"
)

// userTimeout: other systems have keep-alives, and contexts bound every call.
func userTimeout(string, syscall.RawConn, time.Duration) error { return nil }
