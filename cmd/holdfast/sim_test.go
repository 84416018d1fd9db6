package main

import (
	"net"
	"strings"
	"testing"
)

func TestASimulatorOnAllAddressesNamesOneToConnectTo(t *testing.T) {
	rows := []struct {
		at   string
		want string
		said bool
	}{
		{"127.0.0.1:7400", "http://127.0.0.1:7400", false},
		{"0.0.0.0:7400", "http://127.0.0.1:7400", true},
		{"[::]:7400", "http://127.0.0.1:7400", true},
		{"192.0.2.1:7400", "http://192.0.2.1:7400", false},
	}
	for _, row := range rows {
		at, err := net.ResolveTCPAddr("tcp", row.at)
		if err != nil {
			t.Fatal(err)
		}
		var notes strings.Builder
		if got := simURL(streams{err: &notes}, at); got != row.want || strings.Contains(notes.String(), "this machine alone") != row.said {
			t.Errorf("%s: %s, want %s; said %q", row.at, got, row.want, notes.String())
		}
	}
}
