package storage_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// kept runs test in virtual time over a store whose witness lies in a directory of its own.
func kept(t *testing.T, test func(t *testing.T, s *storage.Store, witness string, log *bytes.Buffer)) {
	cfg := testConfig(t)
	base := filepath.Join(filepath.Dir(cfg.Dir), "elsewhere")
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.WitnessFile = filepath.Join(base, "witness")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := cfg
		cfg.Backend, cfg.Now, cfg.Log = memstore.New().Opener(), time.Now, slog.New(slog.NewTextHandler(&log, nil))
		s := openStore(t, cfg)
		test(t, s, cfg.WitnessFile, &log)
	})
}

// after lets d pass, and all that is due then be done.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func commit(t *testing.T, s *storage.Store) {
	t.Helper()
	spendable(t, "acme/"+strings.ToLower(time.Now().Format("150405.000000000"))+"/jira")(s)
}

func seen(t *testing.T, witness string) storage.WitnessInfo {
	t.Helper()
	info, err := storage.ParseWitness(readFile(t, witness))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestTheWitnessFollowsTheCommitsEveryTenSeconds(t *testing.T) {
	kept(t, func(t *testing.T, s *storage.Store, witness string, _ *bytes.Buffer) {
		first := seen(t, witness)
		if first.Epoch != 1 || first.StoreID != s.StoreID() {
			t.Fatalf("the witness says %+v", first)
		}
		commit(t, s)
		after(time.Nanosecond)
		commit(t, s)
		after(9 * time.Second)
		if got := seen(t, witness); got != first {
			t.Errorf("written early: %+v", got)
		}
		after(time.Second)
		got := seen(t, witness)
		if got.Sequence != first.Sequence+2 || got.Epoch != 1 {
			t.Errorf("after two commits: %+v, before: %+v", got, first)
		}
		after(time.Minute)
		if again := seen(t, witness); again != got {
			t.Errorf("written without news: %+v after %+v", again, got)
		}
		commit(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if last := seen(t, witness); last.Sequence != got.Sequence+1 {
			t.Errorf("closed at %+v, want the last commit in it", last)
		}
	})
}

func TestAWitnessThatCanNotBeWrittenForAWhileIsCaughtUp(t *testing.T) {
	kept(t, func(t *testing.T, s *storage.Store, witness string, log *bytes.Buffer) {
		dir := filepath.Dir(witness)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		commit(t, s)
		after(time.Minute)
		if n := strings.Count(log.String(), "cannot be kept up to date"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		if err := s.Health(t.Context()); err != nil {
			t.Errorf("the store stopped for it: %v", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		after(10 * time.Second)
		if got := seen(t, witness); got.Sequence == 0 {
			t.Errorf("afterwards: %+v", got)
		}
	})
}

func TestNothingIsSpentOnceAnotherProcessTookTheWitness(t *testing.T) {
	kept(t, func(t *testing.T, s *storage.Store, witness string, log *bytes.Buffer) {
		theirs := bytes.Replace(readFile(t, witness), []byte(`"epoch": 1`), []byte(`"epoch": 2`), 1)
		writeFile(t, witness, theirs)
		commit(t, s)
		after(10 * time.Second)
		err := s.Health(t.Context())
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "a copy of this store may run") {
			t.Errorf("healthy with %v", err)
		}
		if !strings.Contains(log.String(), "another process has written this store's witness") {
			t.Errorf("logged:\n%s", log)
		}
		commit(t, s)
		after(time.Minute)
		if !bytes.Equal(readFile(t, witness), theirs) {
			t.Error("the other's witness was written over: its next start would not find anything")
		}
	})
}
