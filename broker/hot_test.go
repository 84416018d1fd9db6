package broker

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

func TestASlowReaderOfAnOldRecordCanNotBringBackWhatWasRevoked(t *testing.T) {
	var c cache
	now := time.Now()
	a := storage.Address{Tenant: "t", Subject: "s", Product: "jira", Name: "default"}
	old := storage.Grant{ID: "g", Address: a, Version: 1, State: family.State{Phase: family.Active}}
	revoked := old
	revoked.Version, revoked.State.Phase = 2, family.Revoked
	_, first := c.publish(old, now)
	sl, _ := c.publish(revoked, now)
	select {
	case <-first.changed:
	default:
		t.Fatal("whoever waits on the old entry is not told")
	}
	if _, e := c.publish(old, now); e.grant.Version != 2 || sl.entry.Load().grant.State.Phase != family.Revoked {
		t.Fatalf("version %d took the place of version 2", e.grant.Version)
	}
}

func TestTheCacheDropsOnlyWhatCanServeNothing(t *testing.T) {
	var c cache
	now := time.Now()
	add := func(name string, expires time.Time, at time.Time) storage.Address {
		a := storage.Address{Tenant: name, Subject: "s", Product: "jira", Name: "default"}
		c.publish(storage.Grant{ID: name, Address: a, Version: 1, State: family.State{
			Phase: family.Active, Access: family.Access{Token: secret.New("x"), ExpiresAt: expires}}}, at)
		return a
	}
	valid := add("valid", now.Add(time.Minute), now.Add(-time.Hour))
	dead := add("dead", now.Add(-time.Minute), now.Add(-time.Hour))
	recent := add("recent", now.Add(-time.Minute), now.Add(-time.Minute))
	c.sweep(now, now, family.Timing{})
	if c.find(valid) == nil || c.find(recent) == nil || c.findID("valid") == nil {
		t.Fatal("an entry that is still needed was dropped")
	}
	if c.find(dead) != nil || c.findID("dead") != nil {
		t.Fatal("a dead entry was kept")
	}
}

func TestWhoWaitsOnADroppedEntryIsToldOnce(t *testing.T) {
	var c cache
	all := func(*entry) bool { return true }
	a := storage.Address{Tenant: "t", Subject: "s", Product: "jira", Name: "default"}
	sl, e := c.publish(storage.Grant{ID: "g", Address: a, Version: 1}, time.Now())
	c.drop(sl, func(*entry) bool { return false })
	select {
	case <-e.changed:
		t.Error("told although it was kept")
	default:
	}
	c.drop(sl, all)
	c.drop(sl, all) // by somebody who found it before
	select {
	case <-e.changed:
	default:
		t.Error("whoever waits on it is not told")
	}
}

func TestASlotThatIsFoundHasItsEntry(t *testing.T) {
	for i := range 3000 {
		var c cache
		a := storage.Address{Tenant: "t", Subject: fmt.Sprint(i), Product: "jira", Name: "default"}
		var found *slot
		looked := make(chan struct{})
		go func() {
			defer close(looked)
			for found = c.find(a); found == nil; found = c.find(a) {
				runtime.Gosched()
			}
			if found.entry.Load() == nil {
				t.Error("a grant was found in the cache before it was there")
			}
		}()
		c.publish(storage.Grant{ID: "g", Address: a, Version: 1}, time.Now())
		<-looked
	}
}
