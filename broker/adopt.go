package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// AdoptMode is what an operator says about a store whose grants are quarantined.
type AdoptMode int

const (
	// AdoptSurviving: this is the surviving store; its grants may be spent again.
	AdoptSurviving AdoptMode = 1
	// AdoptScrub: this is a copy; its tokens are removed.
	AdoptScrub AdoptMode = 2
)

// String returns the name that the audit record shows.
func (m AdoptMode) String() string {
	if m == AdoptScrub {
		return "scrub"
	}
	return "adopt"
}

// AdoptResult says which quarantines were ended, or would be.
type AdoptResult struct {
	Count int
	// Grants are the first of them as they were before, in order of id, at most 100.
	Grants []GrantInfo
}

const (
	// mostAdoptedShown bounds AdoptResult.Grants.
	mostAdoptedShown = 100
	// adoptAtOnce is how many grants are changed at the same time, so that the
	// store can commit them together.
	adoptAtOnce = 32
)

// AdoptGrants ends the quarantine of all quarantined grants that match tenant and
// product of f. A dry run changes nothing. After an error some may be done
// already: the next call goes on with the rest. Once no grant is quarantined any
// more, the store's finding is settled by a call of who may maintain the broker
// itself, even if it finds nothing left to do.
func (b *Broker) AdoptGrants(ctx context.Context, caller Caller, mode AdoptMode, f GrantFilter, dryRun bool) (*AdoptResult, error) {
	c, err := b.enterListing(caller, "AdoptGrants", policy.Maintain)
	c.rec.Detail = adoptDetail(mode, f, dryRun)
	result := &AdoptResult{}
	if err == nil && mode != AdoptSurviving && mode != AdoptScrub {
		err = invalid("mode", "mode must say whether this is the surviving store or a copy")
	}
	if err == nil && !dryRun {
		err = c.intend()
	}
	if err == nil {
		err = b.adoptAll(ctx, caller, mode, f, dryRun, result)
		c.rec.Detail += fmt.Sprintf(": %d grants", result.Count)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return result, nil
}

func adoptDetail(mode AdoptMode, f GrantFilter, dryRun bool) string {
	words := []string{mode.String()}
	for _, w := range []struct {
		word string
		ok   bool
	}{{"tenant=" + f.Tenant, f.Tenant != ""}, {"product=" + f.Product, f.Product != ""}, {"dry_run", dryRun}} {
		if w.ok {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}

// adoptAll goes through the quarantined grants that the caller may maintain.
func (b *Broker) adoptAll(ctx context.Context, caller Caller, mode AdoptMode, f GrantFilter, dryRun bool, result *AdoptResult) error {
	filter := storage.Filter{Tenant: f.Tenant, Product: f.Product, Phase: family.Quarantined, Limit: mostPage}
	for {
		rows, err := b.store.Grants(ctx, filter)
		if err != nil {
			return storeError("listing", "quarantined grants", err)
		}
		its := slices.DeleteFunc(slices.Clone(rows), func(g storage.Grant) bool { return !b.sees(caller, policy.Maintain, g.Address) })
		for i := range its {
			if len(result.Grants) < mostAdoptedShown {
				result.Grants = append(result.Grants, *b.info(&its[i]))
			}
		}
		done := len(its)
		if !dryRun {
			done, err = b.adoptPage(ctx, mode, its, "by "+caller.Name)
		}
		result.Count += done
		if err != nil {
			return err
		}
		if len(rows) < filter.Limit {
			break
		}
		filter.After = rows[len(rows)-1].ID
	}
	// The finding is about the whole store: a right to some of its grants is none to that.
	if dryRun || !b.sees(caller, policy.Maintain, storage.Address{}) {
		return nil
	}
	return b.settleFinding(ctx)
}

// adoptPage changes grants beside each other and returns how many it changed.
func (b *Broker) adoptPage(ctx context.Context, mode AdoptMode, rows []storage.Grant, by string) (int, error) {
	var done atomic.Int64
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(adoptAtOnce)
	for i := range rows {
		work.Go(func() (err error) {
			defer b.survive("ending a quarantine", &err)
			changed := false
			_, err = b.change(ctx, rows[i].ID, rows[i].Address.String(), func(g *storage.Grant) (events []family.Event, _ error) {
				if g.State.Phase != family.Quarantined { // somebody else was faster
					return nil, nil
				}
				if mode == AdoptScrub {
					g.State, events = family.Scrub(g.State, b.now(), by)
				} else {
					g.State, events = family.Adopt(g.State, b.now(), by)
				}
				changed = true
				return events, nil
			})
			if err == nil && changed {
				done.Add(1)
			}
			return err
		})
	}
	err := work.Wait()
	return int(done.Load()), err
}

// settleFinding forgets what was found about the store once nothing is
// quarantined for it any more.
func (b *Broker) settleFinding(ctx context.Context) error {
	if b.store.Finding() == "" {
		return nil
	}
	left, err := b.store.Grants(ctx, storage.Filter{Phase: family.Quarantined, Limit: 1})
	if err == nil && len(left) == 0 {
		err = b.store.ClearFinding(ctx)
	}
	if err != nil {
		return storeError("settling", "the store's finding", err)
	}
	return nil
}
