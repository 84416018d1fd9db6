package storage

import (
	"context"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// AuditKey returns the id of the store that cfg names and the seed of the key that
// signs its audit record's checkpoints, as Store.AuditSeed does. It reads the
// header alone, so that it works beside a broker that has the store open. A store
// that is not there is an error; Backend is not used.
func AuditKey(ctx context.Context, cfg Config) (storeID string, seed []byte, err error) {
	cfg.MustExist = true
	if err := cfg.complete(); err != nil {
		return "", nil, err
	}
	h, root, err := openHeader(ctx, &cfg)
	if err != nil {
		return "", nil, err
	}
	seed, err = seal.Derive(root, seal.ForAudit)
	return h.StoreID, seed, err
}
