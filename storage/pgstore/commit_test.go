package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// brief is long for a call that nothing stands in the way of, short for one that waits.
const brief = 700 * time.Millisecond

func key(id string) storage.Key { return storage.Key{Kind: storage.KindGrant, ID: id} }

func change(id string, old storage.Version) []storage.Change {
	return []storage.Change{{Old: old, Item: storage.Item{Key: key(id), Public: []byte("p"), Sealed: []byte(id)}}}
}

func put(t *testing.T, s *pgstore.Store, id string, old storage.Version) {
	t.Helper()
	if err := s.Swap(t.Context(), change(id, old), nil); err != nil {
		t.Fatalf("Swap: %v", err)
	}
}

// briefly runs f with a deadline that comes soon.
func briefly(t *testing.T, f func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), brief)
	defer cancel()
	return f(ctx)
}

func wantErr(t *testing.T, doing string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", doing, err, want)
	}
}

func wantVersion(t *testing.T, s *pgstore.Store, id string, want storage.Version) {
	t.Helper()
	it, err := s.Get(t.Context(), key(id))
	if want == 0 {
		wantErr(t, "reading "+id, err, storage.ErrNotFound)
	} else if err != nil || it.Version != want {
		t.Errorf("%s is at version %d, error %v, want version %d", id, it.Version, err, want)
	}
}

// session is a connection of somebody else's.
func session(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func exec(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// slowCommits has every COMMIT that wrote a record whose id begins with "slow"
// wait until the returned function is called.
func slowCommits(t *testing.T, dsn string) (release func()) {
	t.Helper()
	c := session(t, dsn)
	exec(t, c, `CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF NEW.id LIKE 'slow%' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; RETURN NULL; END $$`)
	exec(t, c, `CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE ON holdfast_record DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION wait()`)
	exec(t, c, "SELECT pg_advisory_lock(1)")
	return func() { exec(t, c, "SELECT pg_advisory_unlock(1)") }
}

// What is read after an unknown outcome is final: a commit that is still on its
// way must not appear afterwards.
func TestAnUnknownOutcomeIsKnownByTheNextReading(t *testing.T) {
	for _, row := range []struct {
		name string
		old  storage.Version
		end  func(t *testing.T, c *pgx.Conn, release func())
		want storage.Version
	}{
		{"a change that was committed later", 1, func(_ *testing.T, _ *pgx.Conn, release func()) { release() }, 2},
		{"a new record that was committed later", 0, func(_ *testing.T, _ *pgx.Conn, release func()) { release() }, 1},
		{"a change whose session was ended", 1, terminateCommits, 1},
		{"a new record whose session was ended", 0, terminateCommits, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			dsn := pgtest.Shared(t).Database(t)
			s := open(t, dsn)
			put(t, s, "other", 0)
			if row.old > 0 {
				put(t, s, "slow", 0)
			}
			release := slowCommits(t, dsn)
			err := briefly(t, func(ctx context.Context) error { return s.Swap(ctx, change("slow", row.old), nil) })
			wantErr(t, "a swap whose commit takes long", err, storage.ErrUnknown)
			err = briefly(t, func(ctx context.Context) error {
				_, err := s.Get(ctx, key("slow"))
				return err
			})
			wantErr(t, "reading before the outcome is known", err, storage.ErrUnavailable)
			err = briefly(t, func(ctx context.Context) error {
				_, err := s.Events(ctx, "slow", 1)
				return err
			})
			wantErr(t, "reading the journal before the outcome is known", err, storage.ErrUnavailable)
			wantVersion(t, s, "other", 1) // of which nothing is unknown
			row.end(t, session(t, dsn), release)
			wantVersion(t, s, "slow", row.want)
			put(t, s, "after", 0)
		})
	}
}

// terminateCommits ends the sessions that wait in a COMMIT.
func terminateCommits(t *testing.T, c *pgx.Conn, _ func()) {
	t.Helper()
	exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'")
}

func TestACommitWhoseSessionEndsIsUnknown(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	s := open(t, dsn)
	slowCommits(t, dsn)
	c := session(t, dsn)
	done := make(chan error, 1)
	go func() { done <- s.Swap(t.Context(), change("slow", 0), nil) }()
	awaitTrue(t, c, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory')")
	terminateCommits(t, c, nil)
	wantErr(t, "the swap", <-done, storage.ErrUnknown)
	wantVersion(t, s, "slow", 0)
}

func awaitTrue(t *testing.T, c *pgx.Conn, question string, args ...any) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range 2000 {
		var yes bool
		if err := c.QueryRow(t.Context(), question, args...).Scan(&yes); err != nil {
			t.Fatalf("%s: %v", question, err)
		}
		if yes {
			return
		}
		<-look.C
	}
	t.Fatalf("%s: still not", question)
}

// Everything of every replica that somebody was told nothing certain about has
// ended when Reseal returns.
func TestResealWaitsForSwapsOfOtherReplicas(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	one, other := open(t, dsn), open(t, dsn)
	release := slowCommits(t, dsn)
	err := briefly(t, func(ctx context.Context) error { return one.Swap(ctx, change("slow", 0), nil) })
	wantErr(t, "the swap", err, storage.ErrUnknown)
	wantErr(t, "Reseal beside it", briefly(t, func(ctx context.Context) error { return other.Reseal(ctx, nil) }), storage.ErrUnavailable)
	release()
	if err := other.Reseal(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, other, "slow", 1)
}

// A swap whose caller has gone before it was begun never happens: nothing could
// wait for it.
func TestASwapThatNobodyWaitsForIsNotBegun(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	one, other := open(t, dsn), open(t, dsn)
	release := slowCommits(t, dsn)
	c := session(t, dsn)
	slow := make(chan error, 2)
	for i := range 2 { // so many groups are committed at once
		go func() { slow <- one.Swap(t.Context(), change(fmt.Sprint("slow", i), 0), nil) }()
		awaitTrue(t, c, "SELECT count(*) = $1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'", i+1)
	}
	err := briefly(t, func(ctx context.Context) error { return one.Swap(ctx, change("late", 0), nil) })
	wantErr(t, "the swap behind them", err, storage.ErrUnavailable)
	if errors.Is(err, storage.ErrUnknown) {
		t.Errorf("its outcome is %v", err)
	}
	release()
	for range 2 {
		if err := <-slow; err != nil {
			t.Errorf("a slow swap: %v", err)
		}
	}
	if err := other.Reseal(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, other, "late", 0)
	put(t, one, "after", 0)
	wantVersion(t, other, "late", 0)
}

// A record that somebody holds locked, such as a replica whose connection hangs,
// keeps nobody waiting but those who want that one.
func TestALockedRecordKeepsOthersFromNothing(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	s := open(t, dsn)
	for i := range 9 {
		put(t, s, fmt.Sprint("g", i), 0)
	}
	c := session(t, dsn)
	exec(t, c, "BEGIN")
	exec(t, c, "SELECT FROM holdfast_record WHERE id = 'g0' FOR UPDATE")
	locked := make(chan error, 3)
	for range 3 { // more than wait for locks at once
		go func() { locked <- s.Swap(t.Context(), change("g0", 1), nil) }()
	}
	for i := range 8 {
		for v := range storage.Version(3) {
			err := briefly(t, func(ctx context.Context) error { return s.Swap(ctx, change(fmt.Sprint("g", i+1), v+1), nil) })
			if err != nil {
				t.Errorf("a swap of another record: %v", err)
			}
		}
	}
	select {
	case err := <-locked:
		t.Fatalf("the swap of the locked record: %v", err)
	default:
	}
	exec(t, c, "COMMIT")
	won := 0
	for range 3 {
		if err := <-locked; err == nil {
			won++
		} else {
			wantErr(t, "a swap that came second", err, storage.ErrConflict)
		}
	}
	if won != 1 {
		t.Errorf("%d of 3 swaps of the same version won", won)
	}
}

func TestASwapIsTriedAgainWhenTheServerAsksForIt(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	s := open(t, dsn)
	put(t, s, "g", 0)
	c := session(t, dsn)
	exec(t, c, "CREATE SEQUENCE tries")
	for i, code := range []string{"40001", "40P01"} {
		exec(t, c, fmt.Sprintf(`CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF nextval('tries') %% 3 <> 0 THEN RAISE EXCEPTION 'again' USING ERRCODE = '%s'; END IF; RETURN NEW; END $$`, code))
		if i == 0 {
			exec(t, c, "CREATE TRIGGER fail BEFORE UPDATE ON holdfast_record FOR EACH ROW EXECUTE FUNCTION fail()")
		}
		put(t, s, "g", storage.Version(i+1))
		wantVersion(t, s, "g", storage.Version(i+2))
	}
}

func TestOfReplicasThatMakeTheSameRecordOneWins(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	stores := []*pgstore.Store{open(t, dsn), open(t, dsn), open(t, dsn)}
	for round := range 20 {
		answers := make(chan error, len(stores))
		for _, s := range stores {
			go func() { answers <- s.Swap(t.Context(), change(fmt.Sprint("g", round), 0), nil) }()
		}
		won := 0
		for range stores {
			if err := <-answers; err == nil {
				won++
			} else {
				wantErr(t, "making it second", err, storage.ErrConflict)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	}
}
