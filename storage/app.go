package storage

import (
	"context"
	"fmt"
	"time"
)

// Most deaths and events that an app's record keeps; SwapApp drops the oldest.
const (
	MostAppDeaths = 256
	MostAppEvents = 64
)

// App is what all replicas are to know of one app. Only its id is public, all
// the rest is sealed.
type App struct {
	// ID of the app in the configuration.
	ID string
	// Pause by an operator; nil: none.
	Pause *AppPause
	// Windows is what each replica counted.
	Windows []AppWindow
	// Deaths are the families of the app that the provider ended, oldest first.
	Deaths []AppDeath
	// Events are the app's newest events, oldest first.
	Events []AppEvent
	// VerdictsHeld: refusals prove nothing at the moment. HeldAt is when there
	// were last too many of them at once to prove anything; zero: never.
	VerdictsHeld bool
	HeldAt       time.Time
	// Version of the record that this was read from; set by the store.
	Version Version
}

// AppPause is an operator's pause of an app.
type AppPause struct {
	// By is the caller that paused it, Reason what it gave for it (may be empty).
	By, Reason string
	At         time.Time
}

// AppWindow is what one replica counted of late.
type AppWindow struct {
	// Replica is the random id of the replica's run.
	Replica string
	// Minutes, oldest first; a minute without attempts is left out.
	Minutes []AppMinute
}

// AppMinute counts what ended within one minute.
type AppMinute struct {
	// At is the start of the minute.
	At time.Time
	// Attempts whose token may have left, Refusals among them.
	Attempts, Refusals uint32
}

// AppDeath is a family that the provider ended.
type AppDeath struct {
	GrantID string
	At      time.Time
	// Age since its consent, Idle since its last exchange.
	Age, Idle time.Duration
}

// AppEventType names an event of an app. Stored as text.
type AppEventType string

// The events of an app.
const (
	AppPaused           AppEventType = "PAUSED"
	AppResumed          AppEventType = "RESUMED"
	AppMisconfigured    AppEventType = "MISCONFIGURED"
	AppRecovered        AppEventType = "RECOVERED"
	AppVerdictsHeld     AppEventType = "VERDICTS_HELD"
	AppVerdictsReleased AppEventType = "VERDICTS_RELEASED"
	AppDeathCluster     AppEventType = "DEATH_CLUSTER"
	AppCircuitOpened    AppEventType = "CIRCUIT_OPENED"
	AppCircuitClosed    AppEventType = "CIRCUIT_CLOSED"
)

// AppEvent is one event of an app. It never holds a secret.
type AppEvent struct {
	Type AppEventType
	At   time.Time
	// Detail is for people; never text of the provider.
	Detail string
}

// App reads what is known of an app: ErrNotFound if nothing was recorded yet,
// ErrCorrupt, ErrUnavailable.
func (s *Store) App(ctx context.Context, id string) (App, error) {
	it, err := s.backend.Get(ctx, Key{KindApp, id})
	if err != nil {
		return App{}, fmt.Errorf("reading the record of app %q: %w", id, err)
	}
	return s.openApp(it)
}

// SwapApp writes a if its record still has a.Version (0: there is none yet),
// and advances that. It leaves out what is older than MostAppDeaths and
// MostAppEvents. The errors are Swap's.
func (s *Store) SwapApp(ctx context.Context, a *App) error {
	a.Deaths = newest(a.Deaths, MostAppDeaths)
	a.Events = newest(a.Events, MostAppEvents)
	err := s.swapSealed(ctx, func() ([]Change, []Entry, error) {
		c, err := s.sealApp(a)
		return []Change{c}, nil, err
	})
	if err != nil {
		return fmt.Errorf("storing the record of app %q: %w", a.ID, err)
	}
	a.Version++
	return nil
}

// newest returns the last most of list.
func newest[T any](list []T, most int) []T { return list[max(0, len(list)-most):] }
