package node

import (
	"context"
	"errors"
	"syscall"

	"github.com/holdfast-io/holdfast/storage"
)

// InputError is something that a configuration or a command line names and that
// cannot be used: a person must correct it, and repeating does not help.
type InputError struct{ error }

// Unwrap returns what is wrong with it.
func (e InputError) Unwrap() error { return e.error }

// Input marks err as an InputError unless it says of itself that it is something
// else: a system error, the end of a context, or one of the store's sentinels.
// The store gives none to a wrong KEK, environment, provider or place.
func Input(err error) error {
	if err == nil {
		return nil
	}
	if _, system := errors.AsType[syscall.Errno](err); system {
		return err
	}
	for _, e := range []error{
		storage.ErrCorrupt, storage.ErrRolledBack, storage.ErrUnavailable, storage.ErrUnknown, storage.ErrConflict,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return err
		}
	}
	return InputError{err}
}
