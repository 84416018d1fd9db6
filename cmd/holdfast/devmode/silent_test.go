package devmode

import (
	"io"
	"net"
	"testing"
)

func TestHangingUpEndsSilentConnectionsOnly(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &silentListener{Listener: raw}
	defer func() { _ = l.Close() }()
	connect := func() (client, server net.Conn) {
		t.Helper()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = client.Close(), server.Close() })
		return client, server
	}
	silent, _ := connect()
	talking, server := connect()
	say := func(from, to net.Conn) error {
		if _, err := from.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(to, make([]byte, 1))
		return err
	}
	if err := say(talking, server); err != nil {
		t.Fatal(err)
	}
	l.hangUp()
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the silent connection lives on")
	}
	if err := say(server, talking); err != nil {
		t.Errorf("the other one was ended: %v", err)
	}
	late, _ := connect()
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that came later lives on")
	}
}
