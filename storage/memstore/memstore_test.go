package memstore_test

import (
	"errors"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storage.Backend { return memstore.New() })
}

func TestSharedConformance(t *testing.T) {
	storetest.RunShared(t, func(*testing.T) (one, other storage.Backend) {
		s := memstore.New()
		return s, s
	})
}

func TestACrashKeepsWhatWasSynced(t *testing.T) {
	for _, row := range []struct {
		name            string
		fault           memstore.Fault
		answer          error
		visible, stayed bool
	}{
		{"none", memstore.None, nil, true, true},
		{"refused", memstore.Refused, storage.ErrUnavailable, false, false},
		{"unknown, kept", memstore.UnknownKept, storage.ErrUnknown, true, true},
		{"unknown, lost", memstore.UnknownLost, storage.ErrUnknown, false, false},
		{"unsynced", memstore.Unsynced, nil, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := memstore.New()
			s.SetFault(func([]storage.Change) memstore.Fault { return row.fault })
			key := storage.Key{Kind: storage.KindGrant, ID: "g"}
			err := s.Swap(t.Context(), []storage.Change{{Item: storage.Item{Key: key}}}, nil)
			if !errors.Is(err, row.answer) {
				t.Errorf("answer: got %v, want %v", err, row.answer)
			}
			if _, err := s.Get(t.Context(), key); (err == nil) != row.visible {
				t.Errorf("before the crash: %v", err)
			}
			s.Crash()
			if _, err := s.Get(t.Context(), key); (err == nil) != row.stayed {
				t.Errorf("after the crash: %v", err)
			}
		})
	}
}
