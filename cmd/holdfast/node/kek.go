package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/seal"
	"github.com/holdfast-io/holdfast/storage/seal/kmsv2"
	"github.com/holdfast-io/holdfast/storage/seal/transit"
)

// KEK is the key-encryption key that k names. A file is read; nobody else is asked yet.
func KEK(k *config.Keys) (seal.KEK, error) {
	switch {
	case k.KMSSocket != "":
		return kmsv2.New(k.KMSSocket)
	case k.Vault != (config.Vault{}):
		v := k.Vault
		return transit.New(transit.Config{
			Address: v.Address, Mount: v.Mount, Key: v.Key, TokenFile: v.TokenFile, Namespace: v.Namespace, CAFile: v.CAFile,
		})
	}
	return seal.ReadFile(k.KEKFile)
}

const (
	// keyPatience is how long a start waits for a key provider that does not
	// answer: as long as a machine that comes up with its KMS may need. After that
	// the supervisor decides.
	keyPatience = 2 * time.Minute
	// keyRest is the rest after the first try. It doubles up to keyRestMost.
	keyRest     = time.Second
	keyRestMost = 15 * time.Second
)

// awaitKey opens a store whose key provider may still be on its way up. It gives
// up after keyPatience, or when ctx ends, with the newest error.
func awaitKey(ctx context.Context, log *slog.Logger, open func(context.Context) (*storage.Store, error)) (*storage.Store, error) {
	until := time.Now().Add(keyPatience)
	for rest := keyRest; ; rest = min(2*rest, keyRestMost) {
		store, err := open(ctx)
		if err == nil || !errors.Is(err, seal.ErrUnavailable) || time.Now().Add(rest).After(until) {
			return store, err
		}
		log.Warn("the key-encryption key can not be asked, so the store stays closed; it is tried again", "error", err, "in", rest, "until", until)
		wait := time.NewTimer(rest)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}
