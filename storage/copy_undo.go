package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// UndoCopy gives the source of a copy back, whether the copy has ended or not,
// as long as nobody has started the target: then the tokens of the source may be
// spent already. The target is left as it is but never opens any more: empty it.
// The configurations are those of Copy. Neither store may be in use.
func UndoCopy(ctx context.Context, from, to Config) (sum CopySummary, err error) {
	c, err := newCopier(ctx, from, to, CopyOptions{})
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.undo(ctx); err != nil {
		return c.sum, fmt.Errorf("undoing the copy: %w", err)
	}
	return c.sum, nil
}

func (c *copier) undo(ctx context.Context) error {
	mark := c.source.header.Load().Moved
	if mark == nil {
		return fmt.Errorf("the store in %s is not marked as moved: there is nothing to undo; nothing was changed", c.sum.From)
	}
	if mark.Done && (c.arrived == nil || mark.To != c.sum.To) {
		return fmt.Errorf("the store was moved to %s, and whether it has been used there must be looked up there: "+
			"give the configuration that it was moved to; nothing was changed", mark.To)
	}
	if mark.Done && c.arrived.Arriving == nil {
		if err := c.takeBack(ctx, mark); err != nil {
			return err
		}
	}
	// A target that has not arrived names this copy, and no copy will have its id again.
	if err := c.source.changeHeader(func(h *header) { h.Moved = nil }); err != nil {
		return err
	}
	if a := c.arrived; c.target != nil || a != nil && a.Arriving != nil && a.Arriving.ID == mark.ID {
		c.tellTarget(mark)
	}
	return nil
}

// tellTarget has what is left of the copy say that it was undone. It is advice for
// who opens it later, so that the undo has succeeded without it, too.
func (c *copier) tellTarget(mark *moved) {
	if c.target == nil {
		var err error
		if c.target, err = openBackend(c.to, *c.arrived, c.source.root); err != nil {
			c.to.Log.Warn("the rest of the copy could not be told that it was undone: empty it", "target", c.sum.To, "error", err)
			return
		}
	}
	err := c.target.changeHeader(func(h *header) {
		if h.Arriving != nil && h.Arriving.ID == mark.ID {
			left := *h.Arriving
			left.Undone = true
			h.Arriving = &left
		}
	})
	if err != nil {
		c.to.Log.Warn("the rest of the copy could not be told that it was undone: empty it", "target", c.sum.To, "error", err)
	}
}

// takeBack marks a finished target as not complete, if it was never started. A
// start that comes at the same moment either counts itself before the key ring is
// stored anew, and is found here, or after that, and finds the mark.
func (c *copier) takeBack(ctx context.Context, mark *moved) error {
	var err error
	if c.target, err = openBackend(c.to, *c.arrived, c.source.root); err != nil {
		return err
	}
	if err := c.unstarted(ctx); err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	if err := c.target.changeHeader(func(h *header) { h.Arriving = &arriving{ID: mark.ID, From: c.sum.From} }); err != nil {
		return err
	}
	if err := errors.Join(c.target.expel(ctx), c.unstarted(ctx)); err != nil {
		return errors.Join(err, c.target.changeHeader(func(h *header) { h.Arriving = nil }))
	}
	return nil
}

// unstarted compares the starts that both sides have counted.
func (c *copier) unstarted(ctx context.Context) error {
	for _, name := range []string{metaEpoch, metaStart} {
		here, err := c.source.backend.Get(ctx, Key{KindMeta, name})
		if errors.Is(err, ErrNotFound) {
			here, err = Item{}, nil
		}
		if err != nil {
			return fmt.Errorf("reading the starts of the source: %w", err)
		}
		there, err := c.target.backend.Get(ctx, Key{KindMeta, name})
		if errors.Is(err, ErrNotFound) {
			there, err = Item{}, nil
		}
		if err != nil {
			return fmt.Errorf("reading the starts of the target: %w", err)
		}
		if here.Version != there.Version || !bytes.Equal(here.Sealed, there.Sealed) {
			return fmt.Errorf("a broker has been started on %s already, so that the tokens in %s may be spent: stay there, or copy the store back from there to an empty place", c.sum.To, c.sum.From)
		}
	}
	return nil
}
