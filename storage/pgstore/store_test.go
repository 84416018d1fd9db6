package pgstore_test

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
	"github.com/holdfast-io/holdfast/storage/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		pgtest.StopShared()
		os.Exit(code)
	}))
}

// open opens a store, which the test's end closes if the test has not.
func open(t *testing.T, dsn string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), pgstore.Options{DSN: secret.New(dsn), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	storetest.Run(t, func(t *testing.T) storage.Backend {
		s := open(t, dsn)
		exec(t, session(t, dsn), "TRUNCATE holdfast_record, holdfast_journal")
		return s
	})
}

func TestSharedConformance(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	storetest.RunShared(t, func(t *testing.T) (one, other storage.Backend) {
		one, other = open(t, dsn), open(t, dsn)
		exec(t, session(t, dsn), "TRUNCATE holdfast_record, holdfast_journal")
		return one, other
	})
}
