package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// notPaused is nil if no operator has paused the app. What was read of that more
// than knownFor ago is read again: a replica that can not, spends nothing.
func (b *Broker) notPaused(ctx context.Context, a *app) error {
	a.mu.Lock()
	stale := b.now().Sub(a.tally.knownAt) > b.knownFor()
	a.mu.Unlock()
	if stale {
		if err := b.readApp(ctx, a); err != nil {
			return storeError("reading the record of app", a.ID, err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.tally.record.Pause; p != nil {
		return &Error{Reason: ReasonAppPaused, Message: fmt.Sprintf("app %q is %s; it does not resume by itself: `holdfast apps resume %s` ends it", a.ID, pausedBy(p), a.ID)}
	}
	return nil
}

// credentials of an app that nobody has paused, to exchange a code with.
func (b *Broker) credentials(ctx context.Context, a *app) (atlassian.Credentials, error) {
	if err := b.notPaused(ctx, a); err != nil {
		return atlassian.Credentials{}, err
	}
	return a.credentials(b.now(), b.cfg.Timing.Lease, false)
}

// mayBegin is notPaused, but for a token that may be spent already and that a
// repeat can still save: it spends nothing new, and a pause that lasts longer than
// the leeway would end the family.
func (b *Broker) mayBegin(ctx context.Context, a *app, g *storage.Grant) error {
	now := b.now()
	// Normalized, since a time of the future would keep the leeway open for ever.
	s := family.Normalize(g.State, b.cfg.Timing, now)
	if until, open := s.RepeatUntil(b.cfg.Timing); open && until.After(now) {
		return nil
	}
	if err := b.keyUsable(); err != nil {
		return err
	}
	return b.notPaused(ctx, a)
}

func pausedBy(p *storage.AppPause) string {
	s := fmt.Sprintf("paused by %s since %s", p.By, p.At.UTC().Format(time.RFC3339))
	if p.Reason != "" {
		s += ": " + p.Reason
	}
	return s
}

// Apps tells how the configured apps fare on all replicas, in order of id.
func (b *Broker) Apps(ctx context.Context, caller Caller) ([]AppStatus, error) {
	c, err := b.enter(caller, "ListApps", policy.Read, storage.Address{})
	var list []AppStatus
	for _, id := range b.appIDs() {
		if err != nil {
			break
		}
		if err = b.readApp(ctx, b.apps[id]); err != nil {
			err = storeError("reading the record of app", id, err)
		}
		list = append(list, b.apps[id].statusWithEvents(b.now()))
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return list, nil
}

func (a *app) statusWithEvents(now time.Time) AppStatus {
	s := a.status(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Events = newestFirst(a.tally.record.Events)
	return s
}

// newestFirst orders by time: what the broker saw itself is recorded some
// seconds later than what operators did meanwhile.
func newestFirst(events []storage.AppEvent) []storage.AppEvent {
	sorted := slices.Clone(events)
	slices.Reverse(sorted) // those of one moment, too
	slices.SortStableFunc(sorted, func(x, y storage.AppEvent) int { return y.At.Compare(x.At) })
	return sorted
}

// PauseApp stops all spending for an app: on this replica when it returned, on
// the others within 15 s, over restarts, until ResumeApp. Attempts whose token
// is on its way settle.
func (b *Broker) PauseApp(ctx context.Context, caller Caller, id, reason string) (*AppStatus, error) {
	return b.actOnApp(ctx, caller, "PauseApp", id, reason, func(rec *storage.App, now time.Time) {
		rec.Pause = &storage.AppPause{By: caller.Name, Reason: reason, At: now}
		addEvent(rec, storage.AppEvent{Type: storage.AppPaused, At: now, Detail: detailBy(caller, reason)})
	}, nil)
}

// ResumeApp ends an operator's pause and the broker's own: the app is tried at
// once. With within > 0 the provider is asked once more about the families of the
// app that lapsed at most that long ago because it refused them. It returns how many those are.
func (b *Broker) ResumeApp(ctx context.Context, caller Caller, id string, within time.Duration) (*AppStatus, int, error) {
	detail, asked := "", 0
	if within > 0 {
		detail = fmt.Sprintf("asking again about families that lapsed within %v", within)
	}
	s, err := b.actOnApp(ctx, caller, "ResumeApp", id, detail, func(rec *storage.App, now time.Time) {
		rec.Pause = nil
		addEvent(rec, storage.AppEvent{Type: storage.AppResumed, At: now, Detail: detailBy(caller, detail)})
	}, func() (err error) {
		b.endRests(id)
		if within > 0 {
			asked, err = b.askAgain(ctx, id, b.now().Add(-within), "by "+caller.Name)
		}
		return err
	})
	return s, asked, err
}

func detailBy(caller Caller, what string) string {
	if what == "" {
		return "by " + caller.Name
	}
	return "by " + caller.Name + ": " + what
}

// actOnApp changes an app's record in an operator's name, and then, if that is
// not nil, does the rest.
func (b *Broker) actOnApp(ctx context.Context, caller Caller, method, id, detail string, edit func(*storage.App, time.Time), rest func() error) (*AppStatus, error) {
	c, err := b.enter(caller, method, policy.Operate, storage.Address{})
	c.rec.Detail = "app " + id
	if detail != "" {
		c.rec.Detail += ": " + detail
	}
	if err == nil && b.apps[id] == nil {
		err = invalid("app_id", "app %q is not configured; configured are %s", id, b.appNames())
	}
	if err == nil {
		err = c.intend()
	}
	if err == nil {
		err = b.editApp(ctx, b.apps[id], edit)
	}
	if err == nil && rest != nil {
		err = rest()
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	s := b.apps[id].statusWithEvents(b.now())
	return &s, nil
}

// editApp makes a change that is durable, and known to this replica, when it returns.
func (b *Broker) editApp(ctx context.Context, a *app, edit func(*storage.App, time.Time)) error {
	now := b.now()
	rec, err := b.changeApp(ctx, a.ID, func(rec *storage.App) bool {
		edit(rec, now)
		return true
	})
	if err != nil {
		return storeError("storing the record of app", a.ID, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.know(rec, now)
	return nil
}

// endRests lets what is due of an app be tried at once.
func (b *Broker) endRests(app string) {
	b.apps[app].load.restUntil.Store(0)
	b.hot.byID.Range(func(_, value any) bool {
		if sl := value.(*slot); sl.entry.Load().grant.App == app {
			sl.restUntil.Store(0)
		}
		return true
	})
}

// askAgain re-opens the families of an app that lapsed since then because the
// provider refused them. What it has done stays done if it ends early.
func (b *Broker) askAgain(ctx context.Context, app string, since time.Time, why string) (int, error) {
	n, filter := 0, storage.Filter{App: app, Phase: family.Lapsed, Limit: mostPage}
	for {
		page, err := b.store.Grants(ctx, filter)
		if err != nil {
			return n, storeError("listing", "grants", err)
		}
		for i := range page {
			asked := false
			if _, err := b.change(ctx, page[i].ID, page[i].Address.String(), func(g *storage.Grant) (events []family.Event, _ error) {
				if !g.State.EndedAt.Before(since) {
					g.State, events = family.AskAgain(g.State, b.now(), why)
				}
				asked = len(events) > 0
				return events, nil
			}); err != nil {
				return n, err
			}
			if asked {
				n++
			}
		}
		if len(page) < filter.Limit {
			return n, nil
		}
		filter.After = page[len(page)-1].ID
	}
}
