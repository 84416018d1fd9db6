package job

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Pauses between calls for a fresh token.
const (
	leastPause    = 5 * time.Second // refresh_after may have passed already
	leastRetry    = time.Second
	greatestRetry = time.Minute
)

// File holds an access token for a command: mode 0600, in a directory of mode 0700
// that nobody else uses. It always holds a whole token, or is not there.
type File struct {
	dir, path string
}

// NewFile makes the directory, below $XDG_RUNTIME_DIR, which is in memory, where there
// is one, else where temporary files go. The caller must call Remove.
func NewFile() (*File, error) {
	dir, err := os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "holdfast-exec-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the token: %w", err)
	}
	return &File{dir: dir, path: filepath.Join(dir, "access-token")}, nil
}

// Path of the file.
func (f *File) Path() string { return f.path }

// Remove removes the file with its directory.
func (f *File) Remove() error {
	if err := os.RemoveAll(f.dir); err != nil {
		return fmt.Errorf("removing the token: %w", err)
	}
	return nil
}

// Write replaces the content at once: who reads gets the old token or the new one.
func (f *File) Write(t *holdfastv1.GetAccessTokenResponse) error {
	next := f.path + ".next"
	err := os.WriteFile(next, []byte(t.GetAccessToken()), 0o600)
	if err == nil {
		err = os.Rename(next, f.path)
	}
	if err != nil {
		return fmt.Errorf("writing the token: %w", err)
	}
	return nil
}

// Keep writes a fresh token whenever there is one, until ctx ends, beginning with
// first, which was asked for at sent. While the broker does not answer, the file keeps
// the last token until that ends. A final refusal takes the file away at once; both are
// told to note, and asked again after a while. It blocks.
func (f *File) Keep(ctx context.Context, first *holdfastv1.GetAccessTokenResponse, sent time.Time, fetch func(context.Context) (*holdfastv1.GetAccessTokenResponse, error), note func(format string, args ...any)) {
	k := &keeper{file: f, note: note}
	k.have(first, sent)
	for pause := k.pause(first, sent); sleep(ctx, pause); {
		sent = time.Now()
		t, err := fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if err = f.Write(t); err == nil {
				k.have(t, sent)
				pause = k.pause(t, sent)
				continue
			}
		}
		pause = k.failed(err)
	}
}

// keeper is what Keep remembers between two calls.
type keeper struct {
	file *File
	note func(format string, args ...any)
	// ends is when the token in the file ends, by the monotonic clock; zero: there is none.
	ends time.Time
	// told of a failure since the last token.
	told bool
}

func (k *keeper) have(t *holdfastv1.GetAccessTokenResponse, sent time.Time) {
	k.ends, k.told = sent.Add(t.GetExpiresAt().AsTime().Sub(t.GetServerTime().AsTime())), false
}

// pause is how long the token is to be used as it is; all its times count from when it
// was asked for, by the broker's clock.
func (k *keeper) pause(t *holdfastv1.GetAccessTokenResponse, sent time.Time) time.Duration {
	least := min(leastPause, max(time.Until(k.ends)/2, leastRetry))
	return max(t.GetRefreshAfter().AsTime().Sub(t.GetServerTime().AsTime())-time.Since(sent), least)
}

// failed deals with a call that brought no token, and says when to make the next one.
func (k *keeper) failed(err error) time.Duration {
	failure, answered := client.Explain(err)
	final := answered && failure.ExitCode() == client.ExitRefused
	if !k.told {
		k.told = true
		text := err.Error()
		if answered {
			text = failure.String() // with the link, if a person must consent
		}
		k.note("holdfast: no fresh token, asking again: %s", text)
	}
	left := time.Until(k.ends)
	if !k.ends.IsZero() && (final || left <= 0) {
		k.ends = time.Time{}
		if err := os.Remove(k.file.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			k.note("holdfast: removing a token that is of no use any more: %v", err)
		}
	}
	pause := leastRetry
	if final {
		pause = greatestRetry
	}
	if wanted, err := time.ParseDuration(failure.RetryAfter); err == nil {
		pause = max(pause, min(wanted, greatestRetry))
	}
	pause = pause/2 + rand.N(pause/2+1) //nolint:gosec // spreads calls, no secret
	if !k.ends.IsZero() && left > 0 {
		pause = min(pause, left) // to take it away in time
	}
	return max(pause, leastRetry/2)
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
