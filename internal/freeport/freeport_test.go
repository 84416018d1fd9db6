package freeport_test

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"sync"
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

func TestAnAddressIsFreeAlsoWhileProcessesStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	defer starting.Wait()
	defer cancel()
	for range 4 {
		starting.Go(func() {
			for ctx.Err() == nil {
				_ = exec.CommandContext(ctx, "true").Run() // ended by the test
			}
		})
	}
	for range 500 {
		addr, err := freeport.Address()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if freeport.IsFree(addr) {
			t.Errorf("%s has a listener and is called free", addr)
		}
		_ = l.Close() // nothing was done with it
	}
}
