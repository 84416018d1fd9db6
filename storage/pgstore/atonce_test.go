package pgstore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// subject is a record's name that nothing else contains.
const subject = "01SUBJECT"

// wired opens a store over a wire. It has the subject at version 2, by a
// connection that knows the pulse.
func wired(t *testing.T, ids ...string) (w *wire, s *pgstore.Store, dsn string) {
	t.Helper()
	dsn = pgtest.Shared(t).Database(t)
	w, over := newWire(t, dsn, append(ids, subject)...)
	s = open(t, over)
	put(t, s, subject, 0)
	put(t, s, subject, 1)
	w.taken(subject)
	return w, s, dsn
}

func TestAChangeIsOneRoundTrip(t *testing.T) {
	w, s, dsn := wired(t)
	for n := range storage.Version(70) {
		if err := s.Swap(t.Context(), change(subject, n+2), []storage.Entry{{GrantID: subject, Sealed: fmt.Appendf(nil, "entry %d", n+1)}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.taken(subject); n != 70 {
		t.Errorf("70 swaps took %d round trips", n)
	}
	wantVersion(t, s, subject, 72)
	c := session(t, dsn)
	awaitTrue(t, c, "SELECT count(*) = 64 AND min(seq) = 7 AND max(seq) = 70 AND bool_and(sealed = convert_to('entry ' || seq, 'UTF8')) FROM holdfast_journal")
	// What somebody else changes costs the next one its round trip, and those after it nothing.
	exec(t, c, "UPDATE holdfast_store SET pulse = pulse + 1")
	w.taken(subject)
	put(t, s, subject, 72)
	if n := w.taken(subject); n != 3 {
		t.Errorf("the swap after that took %d round trips, want one in vain and two", n)
	}
	put(t, s, subject, 73)
	if n := w.taken(subject); n != 1 {
		t.Errorf("and the next one %d", n)
	}
}

func TestARecordThatIsOnlyCheckedConflictsInOneRoundTripToo(t *testing.T) {
	w, s, dsn := wired(t)
	put(t, s, "ring", 0)
	checking := func(ring storage.Version) error {
		return s.Swap(t.Context(), append(change(subject, 2), storage.Change{Old: ring, Item: storage.Item{Key: key("ring")}, Check: true}),
			[]storage.Entry{{GrantID: subject, Sealed: []byte("e")}})
	}
	w.taken(subject)
	for _, wrong := range []storage.Version{2, 7} {
		wantErr(t, "a swap that checks another version", checking(wrong), storage.ErrConflict)
	}
	wantVersion(t, s, subject, 2)
	if entries, err := s.Events(t.Context(), subject, 1); err != nil || len(entries) != 0 {
		t.Errorf("%d entries, error %v", len(entries), err)
	}
	// Who conflicts is told so before the transaction that found it lets go of its locks.
	awaitTrue(t, session(t, dsn), "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL")
	w.taken(subject)
	if err := checking(1); err != nil {
		t.Error(err)
	}
	if n := w.taken(subject); n != 1 {
		t.Errorf("it took %d round trips", n)
	}
	wantVersion(t, s, subject, 3)
}

// What one member of a group meets is no other's business.
func TestAMemberThatCanNotBeWrittenKeepsTheOthersOfItsGroupFromNothing(t *testing.T) {
	w, s, dsn := wired(t, "late", "locked")
	for _, id := range []string{"a", "b", "late", "locked"} {
		put(t, s, id, 0)
	}
	for i := range 2 {
		put(t, s, fmt.Sprint("slow", i), 0)
	}
	c := session(t, dsn)
	exec(t, c, "BEGIN")
	exec(t, c, "SELECT FROM holdfast_record WHERE id = 'locked' FOR UPDATE")
	release, watch := slowCommits(t, dsn), session(t, dsn)
	answers := map[string]chan error{}
	swap := func(id string, old storage.Version) {
		done := make(chan error, 1)
		answers[id] = done
		go func() { done <- s.Swap(t.Context(), change(id, old), nil) }()
	}
	for i := range 2 { // so many groups are committed at once
		swap(fmt.Sprint("slow", i), 1)
		awaitTrue(t, watch, "SELECT count(*) = $1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'", i+1)
	}
	w.taken("late")
	swap("a", 1)
	swap("late", 7)
	swap("locked", 1)
	swap("b", 1)
	release()
	for _, id := range []string{"a", "b", "slow0", "slow1"} {
		if err := <-answers[id]; err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	wantErr(t, "the swap of another version", <-answers["late"], storage.ErrConflict)
	select {
	case err := <-answers["locked"]:
		t.Errorf("the swap of what is locked: %v", err)
	default:
	}
	exec(t, c, "COMMIT")
	if err := <-answers["locked"]; err != nil {
		t.Errorf("the swap of what was locked: %v", err)
	}
	for id, want := range map[string]storage.Version{"a": 2, "b": 2, "late": 1, "locked": 2} {
		wantVersion(t, s, id, want)
	}
}

func TestAnAnswerThatIsLostInOneRoundTripIsUnknown(t *testing.T) {
	w, s, dsn := wired(t)
	other := open(t, dsn)
	h := w.next(subject, true)
	done := make(chan error, 1)
	go func() { done <- s.Swap(t.Context(), change(subject, 2), nil) }()
	<-h.met
	awaitTrue(t, session(t, dsn), "SELECT version = 3 FROM holdfast_record WHERE id = '"+subject+"'")
	close(h.release)
	wantErr(t, "the swap", <-done, storage.ErrUnknown)
	wantVersion(t, s, subject, 3)
	put(t, other, subject, 3)
}

// What is sent at once may still be on its way when somebody has learnt that it
// did not happen. Then it must not happen.
func TestASwapThatArrivesLateNeverHappens(t *testing.T) {
	for _, row := range []struct {
		name string
		// learn is what rests on that the swap never happens.
		learn func(t *testing.T, s, other *pgstore.Store)
	}{
		{"after it was looked for", func(t *testing.T, s, _ *pgstore.Store) { wantVersion(t, s, subject, 2) }},
		{"after Reseal", func(t *testing.T, _, other *pgstore.Store) {
			if err := other.Reseal(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, s, dsn := wired(t)
			other := open(t, dsn)
			h := w.next(subject, false)
			err := briefly(t, func(ctx context.Context) error { return s.Swap(ctx, change(subject, 2), nil) })
			wantErr(t, "a swap that is on its way", err, storage.ErrUnknown)
			row.learn(t, s, other)
			close(h.release)
			if err := s.Close(); err != nil { // waits for it
				t.Error(err)
			}
			wantVersion(t, other, subject, 2)
			put(t, other, subject, 2)
		})
	}
}
