package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/holdfast-io/holdfast/internal/freeport"
)

// Ports that tests choose from: none that the system gives to outgoing connections, of
// which one would have it by the time that its process starts, nor one that Holdfast
// itself chooses (see internal/freeport).
const firstPort, lastPort = 10_000, 19_999

// FreeAddress returns a loopback address at which nobody listens: for a process that
// must be told its port because others have to know it first. It is the test's own to
// its end, also while nobody listens there.
func FreeAddress(t testing.TB) string {
	t.Helper()
	addr, release, err := ReserveAddress()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}

// ReserveAddress returns such an address. Nobody else who reserves one gets it until
// release is called, or this process ends.
func ReserveAddress() (addr string, release func(), err error) {
	dir := filepath.Join(os.TempDir(), "holdfast-test-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", nil, err
	}
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		lock, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return "", nil, err
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && freeport.IsFree(addr) {
			return addr, func() { _ = lock.Close() }, nil
		}
		_ = lock.Close()
	}
	return "", nil, errors.New("a hundred ports were tried and none was free")
}
