package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// patience is how a start waits for something that is still on its way up, as it
// is on a machine that comes up as a whole. After that the supervisor decides.
type patience struct {
	// missing is the error that is waited for to end.
	missing error
	// told is the log's line about each try.
	told string
	// most is how long the start waits.
	most time.Duration
	// restMost bounds the rest between two tries, which begins with firstRest and doubles.
	restMost time.Duration
}

const (
	// keyPatience is as long as a machine that comes up with its KMS may need.
	keyPatience = 2 * time.Minute
	// databasePatience is as long as a database that was shut down well may need;
	// storage/pgstore/README.md tells it.
	databasePatience = time.Minute
	firstRest        = time.Second
)

var patiences = []patience{
	{seal.ErrUnavailable, "the key-encryption key can not be asked, so the store stays closed; it is tried again", keyPatience, 15 * time.Second},
	{pgstore.ErrAway, "the store's database does not answer, so the start waits for it; it is tried again", databasePatience, 5 * time.Second},
}

// awaitStore opens a store whose key provider or database may still be on its way
// up. It gives up when the patience with either is over, or when ctx ends, with
// the newest error.
func awaitStore(ctx context.Context, log *slog.Logger, open func(context.Context) (*storage.Store, error)) (*storage.Store, error) {
	var last *patience
	began, rest := time.Now(), firstRest
	for {
		store, err := open(ctx)
		p := waitsFor(err)
		if p == nil {
			return store, err
		}
		if p != last { // the database came, and now the key provider does not
			began, rest, last = time.Now(), firstRest, p
		}
		until := began.Add(p.most)
		if time.Now().Add(rest).After(until) {
			return nil, fmt.Errorf("a start waits for %v, which is over: %w", p.most, err)
		}
		log.Warn(p.told, "error", err, "in", rest, "until", until)
		wait := time.NewTimer(rest)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, errors.Join(ctx.Err(), err)
		}
		rest = min(2*rest, p.restMost)
	}
}

// waitsFor is the patience with an error; nil: there is none, or the error is nil.
func waitsFor(err error) *patience {
	for i := range patiences {
		if errors.Is(err, patiences[i].missing) {
			return &patiences[i]
		}
	}
	return nil
}
