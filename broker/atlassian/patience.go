package atlassian

import (
	"context"
	"errors"
	"time"
)

const (
	// stoodStill is how late a timer must fire for the process, and not the
	// provider, to have been slow: it was stopped, or its machine was.
	stoodStill = time.Second
	// salvage is how long such a process goes on listening: what came meanwhile
	// lies in the socket, and may be the only live token of a family.
	salvage = 2 * time.Second
)

// patient bounds ctx by timeout like context.WithTimeout, but for a process that
// stood still over the end of it: then the end comes a moment later, so that an
// answer that is there already is read. What may be sent is the guard's to say,
// by its own clock. The cause of the end is context.DeadlineExceeded.
func patient(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(context.DeadlineExceeded) }
	due := time.Now().Add(timeout)
	timer := time.AfterFunc(timeout, func() {
		if time.Since(due) > stoodStill {
			time.AfterFunc(salvage, end)
			return
		}
		end()
	})
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

// lasted is the word for how a spend ended that ctx bounded.
func lasted(ctx context.Context, word string) string {
	if word == "canceled" && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return "timeout"
	}
	return word
}
