package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// Recover waits until every grant yields a good token through every replica, and
// rotates once more: what is held must be good for the future as well. It returns
// how long that took.
func (l *Load) Recover(patience time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	var errs []error
	for n, g := range l.Grants {
		for i, r := range l.c.Replicas {
			err := l.again(ctx, func() error { return l.good(r, n) })
			if err == nil && i == n%len(l.c.Replicas) {
				err = l.again(ctx, func() error { return l.Force(r, n).err() })
			}
			if err == nil {
				err = l.again(ctx, func() error { return l.good(r, n) })
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s through %s: %w", g, r, err))
			}
		}
	}
	return time.Since(began), errors.Join(errs...)
}

// again repeats what fails until ctx ends, and returns how it failed last.
func (l *Load) again(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || !pause(ctx, tryAgain) {
			return err
		}
	}
}

func (o Op) err() error {
	if o.Code == "" {
		return nil
	}
	return fmt.Errorf("%s %s: %s", o.Code, o.Reason, o.Message)
}

// good draws a token and compares it with the ledger.
func (l *Load) good(r *Replica, grant int) error {
	o := l.draw(context.Background(), r, grant)
	if err := o.err(); err != nil {
		return err
	}
	family, ok := l.c.Sim.Ledger(l.c.t).Family(o.Token.Family)
	switch {
	case !ok:
		return fmt.Errorf("the provider knows no %s", o.Token.Family)
	case family.EndedWhy != "":
		return fmt.Errorf("%s ended: %s", family.ID, family.EndedWhy)
	case !takes(family, o.Token.ID):
		return fmt.Errorf("the provider does not take %s of generation %d", o.Token.ID, o.Generation)
	}
	return nil
}

func takes(f atlassiansim.FamilyEntry, token string) bool {
	return slices.Contains(f.LiveAccess, token)
}
