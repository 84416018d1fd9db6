package badgerstore

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Badger starts this one at import and never ends it.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

func quiet() Options { return Options{Log: slog.New(slog.DiscardHandler)} }

func openTest(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, testKey, quiet())
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
	storetest.Run(t, func(t *testing.T) storage.Backend { return openTest(t, t.TempDir()) })
}
