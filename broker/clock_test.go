package broker

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

func TestTheClockIsNeverBehindTheTimeThatPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var off time.Duration // of the machine's wall clock
		now := newClock(func() time.Time { return time.Now().Add(off) }, time.Second, slog.New(slog.DiscardHandler)).now
		for _, row := range []struct {
			name string
			pass time.Duration
			off  time.Duration
			want time.Duration // since the start
		}{
			{"as it goes", time.Hour, 0, time.Hour},
			{"set back by an hour", time.Minute, -time.Hour, time.Hour + time.Minute},
			{"and while it stays behind", 10 * time.Minute, -time.Hour, time.Hour + 11*time.Minute},
			{"continued after a suspension of two hours", time.Minute, 2 * time.Hour, 3*time.Hour + 12*time.Minute},
			{"and set back by the two hours", time.Minute, 0, 3*time.Hour + 13*time.Minute},
		} {
			<-time.After(row.pass)
			off = row.off
			if got := now().Sub(start.Round(0)); got != row.want {
				t.Errorf("%s: %v after the start, want %v", row.name, got, row.want)
			}
		}
	})
}

func TestAGrantIsFoundByItsIDAsSoonAsAnybodyHasPublishedIt(t *testing.T) {
	for i := range 20_000 {
		var c cache
		a := storage.Address{Tenant: "t", Subject: fmt.Sprint(i), Product: "jira", Name: "default"}
		var wg sync.WaitGroup
		for version := range storage.Version(2) {
			wg.Go(func() {
				c.publish(storage.Grant{ID: "g", Address: a, Version: version + 1}, time.Time{})
				if sl := c.findID("g"); sl == nil || sl.entry.Load() == nil {
					t.Error("whoever published it does not find it")
				}
			})
		}
		wg.Go(func() { // who finds it by its id before anybody said that it is there
			for range 50 {
				if sl := c.findID("g"); sl != nil && sl.entry.Load() == nil {
					t.Error("found before there was anything to read")
				}
			}
		})
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}
