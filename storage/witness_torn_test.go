package storage_test

import (
	"context"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// between is a database that does something once the number of the newest start
// has been read, and before anything else is.
type between struct {
	storage.Database
	do func()
}

func (b *between) Get(ctx context.Context, k storage.Key) (storage.Item, error) {
	it, err := b.Database.Get(ctx, k)
	if k.Kind == storage.KindMeta && k.ID == "epoch" {
		b.do()
	}
	return it, err
}

// Two replicas that start at once count their starts one after another, whatever
// one of them has read of the other's by then.
func TestAStartThatComesBetweenTheReadingsOfAnotherIsNotTakenForARollback(t *testing.T) {
	place := memstore.NewDatabase().Place()
	replica := replicasOf(t, place)
	run(t, replica(0))
	var once sync.Once
	late := replica(1)
	late.Database = &storage.DatabasePlace{Name: place.Name, Open: func(ctx context.Context, look bool) (storage.Database, error) {
		db, err := place.Open(ctx, look)
		return &between{db, func() { once.Do(func() { run(t, replica(2)) }) }}, err
	}}
	s := openStore(t, late)
	if s.Finding() != "" || s.Epoch() != 3 {
		t.Errorf("start %d, finding %q", s.Epoch(), s.Finding())
	}
}
