package broker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// turn reports whether work that one process does for all is this one's now. Of
// replicas it is whose look comes first when nobody has begun the work for nearly
// so long; what it does not finish waits for the next turn. It is a courtesy
// that saves repetition: the work must be right if two do it at once.
func (b *Broker) turn(ctx context.Context, work string, every time.Duration) bool {
	if b.replica == nil {
		return true
	}
	name := "turn " + work
	m, err := b.store.Meta(ctx, name)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return false // what can not be read now is looked at again
	}
	now := b.now()
	if len(m.Value) == 8 {
		// Looks are as far apart as turns are, and neither to the moment.
		if began := time.Unix(0, int64(binary.BigEndian.Uint64(m.Value))); now.Sub(began) < every-every/10 && !began.After(now.Add(b.cfg.Timing.ClockMargin)) {
			return false
		}
	}
	m.Name, m.Value = name, binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	return b.store.SwapMeta(ctx, &m) == nil // else it is somebody else's, or the next look's
}

// censusValue is the name of the store's value that holds the newest census.
const censusValue = "census"

// countForAll counts, of replicas if it is this one's turn: otherwise it takes
// over what another one counted.
func (b *Broker) countForAll(ctx context.Context) (Census, error) {
	if b.replica == nil {
		return b.countSlowly(ctx)
	}
	m, known, err := b.storedCensus(ctx)
	if err != nil {
		return known, err
	}
	if !b.turn(ctx, censusValue, max(censusEvery, censusShare*known.Took)) && !known.At.IsZero() {
		return known, nil
	}
	c, err := b.countSlowly(ctx)
	if err != nil {
		return c, err
	}
	if m.Value, err = json.Marshal(c); err == nil {
		m.Name = censusValue
		err = b.store.SwapMeta(ctx, &m)
	}
	if errors.Is(err, storage.ErrConflict) {
		err = nil // another one has counted as well
	}
	return c, err
}

func (b *Broker) storedCensus(ctx context.Context) (m storage.Meta, c Census, err error) {
	m, err = b.store.Meta(ctx, censusValue)
	if errors.Is(err, storage.ErrNotFound) {
		return m, c, nil
	}
	if err == nil && json.Unmarshal(m.Value, &c) != nil {
		c = Census{} // of another version: it is counted anew
	}
	return m, c, err
}
