package storage

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
)

func toAppSecret(a *App) *storagev1.AppSecret {
	x := &storagev1.AppSecret{VerdictsHeld: a.VerdictsHeld, HeldAt: toTime(a.HeldAt)}
	if p := a.Pause; p != nil {
		x.Pause = &storagev1.AppPause{By: p.By, Reason: p.Reason, At: toTime(p.At)}
	}
	for _, w := range a.Windows {
		window := &storagev1.AppWindow{Replica: w.Replica}
		for _, m := range w.Minutes {
			window.Minutes = append(window.Minutes, &storagev1.AppMinute{At: toTime(m.At), Attempts: m.Attempts, Refusals: m.Refusals})
		}
		x.Windows = append(x.Windows, window)
	}
	for _, d := range a.Deaths {
		x.Deaths = append(x.Deaths, &storagev1.AppDeath{
			GrantId: d.GrantID, At: toTime(d.At), Age: durationpb.New(d.Age), Idle: durationpb.New(d.Idle),
		})
	}
	for _, e := range a.Events {
		x.Events = append(x.Events, &storagev1.AppEvent{Type: string(e.Type), At: toTime(e.At), Detail: e.Detail})
	}
	return x
}

func fromApp(id string, x *storagev1.AppSecret, v Version) App {
	a := App{ID: id, VerdictsHeld: x.GetVerdictsHeld(), HeldAt: fromTime(x.GetHeldAt()), Version: v}
	if p := x.GetPause(); p != nil {
		a.Pause = &AppPause{By: p.GetBy(), Reason: p.GetReason(), At: fromTime(p.GetAt())}
	}
	for _, w := range x.GetWindows() {
		window := AppWindow{Replica: w.GetReplica()}
		for _, m := range w.GetMinutes() {
			window.Minutes = append(window.Minutes, AppMinute{At: fromTime(m.GetAt()), Attempts: m.GetAttempts(), Refusals: m.GetRefusals()})
		}
		a.Windows = append(a.Windows, window)
	}
	for _, d := range x.GetDeaths() {
		a.Deaths = append(a.Deaths, AppDeath{
			GrantID: d.GetGrantId(), At: fromTime(d.GetAt()), Age: d.GetAge().AsDuration(), Idle: d.GetIdle().AsDuration(),
		})
	}
	for _, e := range x.GetEvents() {
		a.Events = append(a.Events, AppEvent{Type: AppEventType(e.GetType()), At: fromTime(e.GetAt()), Detail: e.GetDetail()})
	}
	return a
}

// openApp opens a record as that of the app that its key says.
func (s *Store) openApp(it Item) (App, error) {
	var p storagev1.AppPublic
	var x storagev1.AppSecret
	err := openPublic(it, &p)
	if err == nil && p.GetId() != it.Key.ID {
		err = fmt.Errorf("it is the record of %s", p.GetId())
	}
	if err == nil {
		err = s.openSecret(it, &x)
	}
	if err != nil {
		return App{}, corrupt(fmt.Sprintf("the record of app %q", it.Key.ID), err)
	}
	return fromApp(it.Key.ID, &x, it.Version), nil
}

func (s *Store) sealApp(a *App) (Change, error) {
	if a.ID == "" {
		return Change{}, errors.New("an app without an id cannot be stored")
	}
	return s.sealChange(Key{KindApp, a.ID}, a.Version, &storagev1.AppPublic{Id: a.ID}, toAppSecret(a))
}
