package storage

import "context"

// unlocked reads the header of a store, marked or not, and its root key;
// os.ErrNotExist: there is none.
func unlocked(ctx context.Context, cfg *Config) (header, []byte, error) {
	h, err := readHeader(ctx, cfg)
	if err != nil {
		return h, nil, err
	}
	root, err := h.unlock(ctx, cfg.headerName(), cfg)
	return h, root, err
}

// makeHeader makes the header of a store that is not there yet.
func makeHeader(ctx context.Context, cfg *Config, h header, root []byte) error {
	b, err := h.encode(root)
	if err != nil {
		return err
	}
	return cfg.swapHeader(ctx, nil, b)
}
