package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/seal"
)

func TestAStartWaitsForItsKeyProviderForABoundedTime(t *testing.T) {
	down := fmt.Errorf("%w: no answer", seal.ErrUnavailable)
	for _, row := range []struct {
		name   string
		up     time.Duration // when the provider answers; 0: never
		cancel time.Duration // when somebody stops the start; 0: nobody
		other  error         // fails with this instead
		took   time.Duration // at most
		want   error
	}{
		{"at once", 1, 0, nil, 2 * time.Second, nil},
		{"after a minute", time.Minute, 0, nil, 80 * time.Second, nil},
		{"never", 0, 0, nil, keyPatience, seal.ErrUnavailable},
		{"another error", 0, 0, errors.New("wrong KEK"), 0, nil},
		{"stopped", 0, 20 * time.Second, nil, 20 * time.Second, context.Canceled},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if row.cancel > 0 {
				time.AfterFunc(row.cancel, cancel)
			}
			started, opened := time.Now(), &storage.Store{}
			s, err := awaitKey(ctx, slog.New(slog.DiscardHandler), func(context.Context) (*storage.Store, error) {
				switch {
				case row.other != nil:
					return nil, row.other
				case row.up > 0 && time.Since(started) >= row.up-1:
					return opened, nil
				}
				return nil, down
			})
			if took := time.Since(started); took > row.took {
				t.Errorf("%s: it took %v, want at most %v", row.name, took, row.took)
			}
			switch {
			case row.other != nil:
				if !errors.Is(err, row.other) {
					t.Errorf("%s: got %v", row.name, err)
				}
			case row.want != nil:
				if !errors.Is(err, row.want) {
					t.Errorf("%s: got %v, want %v", row.name, err, row.want)
				}
			case err != nil || s != opened:
				t.Errorf("%s: got %v", row.name, err)
			}
		})
	}
}

func TestTheKeysSectionNamesTheProvider(t *testing.T) {
	for want, k := range map[string]config.Keys{
		"kms-v2":              {KMSSocket: "/run/kms.sock"},
		"vault-transit/t/key": {Vault: config.Vault{Address: "https://v.example", Mount: "t", Key: "key", TokenFile: "f"}},
	} {
		kek, err := KEK(&k)
		if err != nil || kek.ID() != want {
			t.Errorf("%s: %v, error %v", want, kek, err)
		}
	}
	if _, err := KEK(&config.Keys{KEKFile: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("a file that is not there: %v", err)
	}
}
