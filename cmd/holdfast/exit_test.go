package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
)

func TestTheExitCodeSaysWhoMustAct(t *testing.T) {
	rows := []struct {
		name string
		err  error
		want int
	}{
		{"nobody foresaw it", errors.New("x"), 1},
		{"wrong use", usagef("x"), 2},
		{"a wrong KEK", node.Input(errors.New("wrong KEK")), 2},
		{"a damaged store", node.Input(fmt.Errorf("%w: x", storage.ErrCorrupt)), 1},
		{"a damaged store because of a missing file", fmt.Errorf("%w: %w", storage.ErrCorrupt, fs.ErrNotExist), 1},
		{"a store in use", node.Input(fmt.Errorf("%w: x", storage.ErrUnavailable)), 4},
		{"a database that gives the role too few rights", fmt.Errorf("asking: %w", pgstore.ErrForbidden), 2},
		{"a database that is away", fmt.Errorf("asking: %w", pgstore.ErrAway), 4},
		{"a full disk", node.Input(&fs.PathError{Err: syscall.ENOSPC}), 4},
		{"a failing disk", node.Input(&fs.PathError{Err: syscall.EIO}), 1},
		{"no such directory", &fs.PathError{Err: syscall.ENOENT}, 2},
		{"a directory that is closed to this user", &fs.PathError{Err: syscall.EACCES}, 2},
		{"a broker's refusal", status.Error(codes.NotFound, "x"), 3},
		{"chosen by the verb", exitError{4, "not ready"}, 4},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got, _ := outcome(fmt.Errorf("doing it: %w", row.err)); got != row.want {
				t.Fatalf("%v: exit code %d, want %d", row.err, got, row.want)
			}
		})
	}
}
