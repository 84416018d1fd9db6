package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

func TestHalfOfTheSlotsIsClosedToKeepAlives(t *testing.T) {
	l := newLoad(Load{Concurrency: 4, Burst: 100}, family.Timing{Leeway: 10 * time.Minute, Lease: time.Minute, HTTPTimeout: time.Second})
	now := func() time.Time { return epoch }
	g := &storage.Grant{ID: "g", State: family.State{Phase: family.Active}}
	idle := family.Need{KeepAlive: true}
	var leave []func()
	for i := range 2 {
		end, err := l.admit(t.Context(), now, g, idle)
		if err != nil {
			t.Fatalf("keep-alive %d: %v", i, err)
		}
		leave = append(leave, end)
	}
	if _, err := l.admit(t.Context(), now, g, idle); !errors.Is(err, errNoRoom) {
		t.Fatalf("a third keep-alive of four slots: %v", err)
	}
	for i := range 2 {
		end, err := l.admit(t.Context(), now, g, family.Need{})
		if err != nil {
			t.Fatalf("caller %d: %v", i, err)
		}
		leave = append(leave, end)
	}
	for _, end := range leave {
		end()
	}
	// A doubt and a suspicion are no keep-alives, though the sweep brings them.
	for name, s := range map[string]family.State{
		"in doubt":  {Phase: family.Active, Doubt: &family.Doubt{FirstAnnounced: epoch}},
		"suspected": {Phase: family.Suspected},
	} {
		if p := l.applicant(epoch, &storage.Grant{ID: "g", State: s}, idle); p.idle {
			t.Errorf("%s counts as idle", name)
		}
	}
}
