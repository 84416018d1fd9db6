package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

func TestAStoreThatMustBeReopenedEndsTheProcessOnceReadinessIsRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		broken := began.Add(time.Minute)
		err := awaitReopen(t.Context(), func() error {
			if time.Now().Before(broken) {
				return nil
			}
			return storage.ErrReopen
		})
		took := time.Since(began)
		if !errors.Is(err, storage.ErrReopen) || took < time.Minute+2*readyInterval || took > time.Minute+3*readyInterval {
			t.Errorf("ended with %v after %v", err, took)
		}
	})
}

func TestTheStoreWatchEndsWithTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := awaitReopen(ctx, func() error { return nil }); err != nil {
			t.Error(err)
		}
	})
}
