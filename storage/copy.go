package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// CopyOptions of Copy.
type CopyOptions struct {
	// DryRun reads the source and looks at the target, and changes neither.
	DryRun bool
	// Progress is told how far a step has come; nil: nobody is. It must not block.
	Progress func(step CopyStep, done, total int)

	// durable is called before and after whatever a crash may come between, for
	// tests; an error ends the copy as a crash would.
	durable func(what string) error
}

// CopyStep is one of the long steps of a copy.
type CopyStep string

// The steps, in their order.
const (
	CopyReading   CopyStep = "reading the source"
	CopyWriting   CopyStep = "copying"
	CopyVerifying CopyStep = "verifying the target"
)

// CopySummary says what was copied, or of a dry run what there is to copy.
type CopySummary struct {
	StoreID  string
	From, To string
	// Records and Entries are those of the source; of them Present were in the
	// target already, from a copy that was interrupted.
	Records, Entries, Present int
	// Checksum over all records and journals, which source and target agree on.
	Checksum string
	// Spilled are the settlements that wait in the source's spill files and go with it.
	Spilled int
	// Finding for which the grants start quarantined; empty: they go on as they were.
	Finding string
	// Resumed: the copy had begun before. Complete: it had ended before.
	Resumed, Complete bool
}

// Copy moves the store of from to the place of to, under the same KEK: records and
// journals as they are sealed, and what waits in the spill files. The source must
// not be in use. Before the first record is written it is marked so that it never
// opens again (see moved.go), and the target opens only once its records and
// journals were compared with the source's. A copy that was interrupted, at
// whatever moment, is ended by calling Copy again; UndoCopy gives the source back.
//
// The target must be empty, or hold what an interrupted copy of the same source
// left. An error says what to do; until the source was marked it changed nothing.
func Copy(ctx context.Context, from, to Config, o CopyOptions) (sum CopySummary, err error) {
	c, err := newCopier(ctx, from, to, o)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	sum, err = c.run(ctx)
	if err != nil {
		return sum, fmt.Errorf("copying the store: %w", err)
	}
	return sum, nil
}

// copier is one run of Copy or UndoCopy.
type copier struct {
	o        CopyOptions
	from, to Config
	sum      CopySummary
	// source is open; target once it is there.
	source, target *Store
	// arrived is the target's header; nil: there is none.
	arrived *header
	// marking: this run has begun to mark the source.
	marking bool
	// bytes of all records and journals of the source, as survey found them.
	bytes uint64
}

// newCopier opens the source without counting a start, and reads the target's header.
func newCopier(ctx context.Context, from, to Config, o CopyOptions) (*copier, error) {
	if err := errors.Join(from.complete(), to.complete()); err != nil {
		return nil, err
	}
	c := &copier{o: o, from: from, to: to, sum: CopySummary{From: from.Place(), To: to.Place()}}
	if c.sum.From == c.sum.To {
		return nil, fmt.Errorf("%s is named as the source and as the target of the copy: name another target; nothing was changed", c.sum.From)
	}
	err := c.openSource(ctx)
	switch {
	case err == nil:
		if err = c.readTarget(ctx); err != nil {
			err = c.brokenOff(err)
		}
	case ctx.Err() != nil:
		err = fmt.Errorf("%w; nothing was changed", err)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *copier) openSource(ctx context.Context) error {
	if err := c.from.connect(ctx, c.o.DryRun); err != nil {
		return err
	}
	if err := c.from.rehearse(ctx, false); err != nil {
		return fmt.Errorf("looking at the source: %w", err)
	}
	h, root, err := unlocked(ctx, &c.from)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no store in %s: correct the configuration of the source; nothing was changed", c.sum.From)
	}
	if err != nil {
		return err
	}
	if c.source, err = openBackend(c.from, h, root); err != nil {
		return err
	}
	// Whoever had the backend until now may have changed the header.
	if h, _, err = unlocked(ctx, &c.from); err != nil {
		return err
	}
	c.source.header.Store(&h)
	c.sum.StoreID = h.StoreID
	if h.Arriving != nil {
		return h.mayOpen(c.from.headerName())
	}
	return nil
}

// close closes both sides, opened as stores or only looked at.
func (c *copier) close() error {
	var errs []error
	for _, side := range []struct {
		store *Store
		cfg   *Config
	}{{c.source, &c.from}, {c.target, &c.to}} {
		if side.store != nil {
			errs = append(errs, side.store.backend.Close())
		} else {
			errs = append(errs, side.cfg.release())
		}
	}
	return errors.Join(errs...)
}

// readTarget also shows that the target's KEK, environment and provider are the
// source's, before anything is changed.
func (c *copier) readTarget(ctx context.Context) error {
	own := *c.source.header.Load()
	if _, err := own.unlock(ctx, c.from.headerName(), &c.to); err != nil {
		return fmt.Errorf("opening the source under the target's configuration: %w", err)
	}
	var h header
	err := c.to.connect(ctx, c.o.DryRun)
	if err == nil {
		err = c.to.rehearse(ctx, true)
	}
	if err == nil {
		h, _, err = unlocked(ctx, &c.to)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking at the target: %w", err)
	case h.StoreID != own.StoreID:
		return c.another(ctx, &h)
	}
	c.arrived = &h
	return nil
}

// another is the error for a target that holds a store which is not a copy of the
// source. Most often a broker was started there too early.
func (c *copier) another(ctx context.Context, h *header) error {
	holds := "whose grants, if any, are not looked at"
	if c.to.Database != nil {
		switch items, err := c.to.db.List(ctx, Query{Kind: KindGrant, Limit: 1}); {
		case err != nil:
			return fmt.Errorf("looking at the target: %w", err)
		case len(items) == 0:
			holds = "without any grant"
		default:
			holds = "with grants"
		}
	}
	return fmt.Errorf("%s holds another store, %s, made at %s, %s: name an empty target; if a broker was started with the target's configuration before the copy, "+
		"it found no store there and made this one: stop it, see that nobody has consented there since, empty the place, and move what is in %s away; nothing was changed",
		c.sum.To, h.StoreID, h.CreatedAt.UTC().Format(time.RFC3339), holds, c.to.Dir)
}

func (c *copier) run(ctx context.Context) (CopySummary, error) {
	if err := c.standing(); err != nil || c.sum.Complete {
		return c.sum, err
	}
	steps := []func(context.Context) error{c.countSpilled, c.survey, c.foresee}
	if !c.o.DryRun {
		steps = append(steps, c.fence, c.receive, c.moveSpill, c.write, c.verify, c.finish)
	}
	for _, step := range steps {
		err := ctx.Err() // not every backend looks
		if err == nil {
			err = step(ctx)
		}
		if err != nil {
			return c.sum, c.brokenOff(err)
		}
	}
	return c.sum, nil
}

// standing compares the marks of both sides: an error if this copy may neither
// begin nor go on.
func (c *copier) standing() error {
	h := c.source.header.Load()
	switch {
	case h.Moved == nil && c.arrived == nil:
		return nil
	case h.Moved == nil && c.arrived.Arriving != nil:
		return fmt.Errorf("%s holds the rest of a copy that was undone: empty it or name another target; nothing was changed", c.sum.To)
	case h.Moved == nil:
		return fmt.Errorf("%s holds a store already, and it is this one or a copy of it: name an empty target; nothing was changed", c.sum.To)
	case c.arrived == nil && !h.Moved.Done && h.Moved.To == c.sum.To:
		c.sum.Resumed = true // it ended before the target was made
		return nil
	case h.Moved.Done && h.Moved.To != c.sum.To:
		return fmt.Errorf("the store was moved to %s already: to move it on, give the configuration that it was moved to as the source; nothing was changed", h.Moved.To)
	case c.arrived == nil:
		return fmt.Errorf("the store was moved to %s already, or is being moved there: end that copy or undo it; nothing was changed", h.Moved.To)
	case c.arrived.Arriving == nil && h.Moved.Done:
		c.sum.Complete = true
		return nil
	case c.arrived.Arriving == nil || c.arrived.Arriving.ID != h.Moved.ID:
		return fmt.Errorf("what %s holds is not of the copy that has begun, which is to %s: end that one, or undo it and empty the target; nothing was changed", c.sum.To, h.Moved.To)
	}
	c.sum.Resumed = true
	return nil
}

// fence marks the source durably, once its state was compared with its witness
// and a start was counted: so an older copy of its files is found to be one,
// although nobody starts the source any more.
func (c *copier) fence(ctx context.Context) error {
	s := c.source
	if err := s.readRing(ctx); err != nil {
		return err
	}
	p, err := s.readPast(ctx)
	if err != nil {
		return err
	}
	if err := s.find(ctx, p); err != nil {
		return err
	}
	c.sum.Finding = s.header.Load().pending()
	if s.header.Load().Moved != nil {
		return c.stopped(ctx)
	}
	if err := c.step("start", func() error { return s.countStart(ctx, p) }); err != nil {
		return err
	}
	mark := moved{ID: strings.ToLower(rand.Text()), To: c.sum.To, At: s.cfg.Now().UTC().Truncate(time.Millisecond)}
	c.marking = true
	err = c.step("fence", func() error {
		return s.changeHeader(func(h *header) { h.Moved = &mark })
	})
	if err != nil {
		return err
	}
	return c.stopped(ctx)
}

// stopped has the replicas of a marked source store nothing any more. The source
// of one process, which is this one, is not stored to.
func (c *copier) stopped(ctx context.Context) error {
	mark := *c.source.header.Load().Moved
	if mark.Stopped {
		return nil
	}
	if err := c.step("stop", func() error { return c.source.expel(ctx) }); err != nil {
		return err
	}
	mark.Stopped = true
	return c.step("stopped", func() error {
		return c.source.changeHeader(func(h *header) { h.Moved = &mark })
	})
}

// step does something that is durable afterwards.
func (c *copier) step(what string, do func() error) error {
	if c.o.durable == nil {
		return do()
	}
	if err := c.o.durable("before " + what); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return c.o.durable("after " + what)
}

func (c *copier) progress(step CopyStep, done, total int) {
	if c.o.Progress != nil {
		c.o.Progress(step, done, total)
	}
}

// receive makes the target, or goes on with it, and opens its backend.
func (c *copier) receive(ctx context.Context) error {
	own := *c.source.header.Load()
	if c.arrived == nil {
		h := own
		h.Moved, h.Arriving = nil, &arriving{ID: own.Moved.ID, From: c.sum.From}
		if err := c.step("target", func() error { return makeHeader(ctx, &c.to, h, c.source.root) }); err != nil {
			return fmt.Errorf("making the target: %w", err)
		}
		c.arrived = &h
	}
	var err error
	c.target, err = openBackend(c.to, *c.arrived, c.source.root)
	return err
}

// finish lets the target open.
func (c *copier) finish(ctx context.Context) error {
	err := c.step("done", func() error {
		mark := *c.source.header.Load().Moved
		mark.Done = true
		return c.source.changeHeader(func(h *header) { h.Moved = &mark })
	})
	if err != nil {
		return err
	}
	if c.to.WitnessFile != "" {
		if err := c.step("witness", func() error { return c.target.vouch(ctx) }); err != nil {
			return err
		}
	}
	final := *c.source.header.Load()
	final.Moved = nil
	return c.step("arrival", func() error {
		return c.target.changeHeader(func(h *header) { *h = final })
	})
}
