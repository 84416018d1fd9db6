package main

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
)

// usageError is wrong use that was found while a verb ran.
type usageError struct{ error }

// Unwrap returns what was wrong.
func (e usageError) Unwrap() error { return e.error }

// exitError ends the program with a code; its message may be empty.
type exitError struct {
	code    int
	message string
}

func (e exitError) Error() string { return e.message }

// outcome says which exit code an error of a verb is, and what to print. What
// nobody foresaw is internal: a script must not repeat it, nor blame its input.
func outcome(err error) (code int, message string) {
	if exit, ok := errors.AsType[exitError](err); ok {
		return exit.code, exit.message
	}
	if failure, ok := client.Explain(err); ok {
		return failure.ExitCode(), failure.String()
	}
	_, usage := errors.AsType[usageError](err)
	_, input := errors.AsType[node.InputError](err)
	listen, listening := errors.AsType[*node.ListenError](err)
	switch {
	case usage, input:
		code = client.ExitUsage
	case errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrRolledBack):
		code = client.ExitInternal // whatever else it is, somebody must look at the store
	case errors.Is(err, pgstore.ErrForbidden): // unavailable as well, but trying again does not help
		code = client.ExitUsage
	case listening && listen.Taken(), errors.Is(err, storage.ErrUnavailable), errors.Is(err, syscall.ENOSPC):
		code = client.ExitUnavailable
	case listening, misplaced(err):
		code = client.ExitUsage
	default:
		code = client.ExitInternal
	}
	return code, err.Error()
}

// misplaced reports whether a file or directory that somebody named is not
// there, is of the wrong kind, or is closed to this user.
func misplaced(err error) bool {
	for _, e := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, syscall.ENOTDIR, syscall.EISDIR, syscall.EROFS, syscall.ENAMETOOLONG} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
