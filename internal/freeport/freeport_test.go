package freeport_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/holdfast-io/holdfast/internal/freeport"
)

func TestAnAddressCanBeListenedAtAndIsNoneOfTheKernels(t *testing.T) {
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	if p := netip.MustParseAddrPort(addr); !p.Addr().IsLoopback() || p.Port() < 1024 || p.Port() >= 32768 {
		t.Errorf("%s: want loopback and a port that the kernel gives to nobody", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nothing was done with it
}
