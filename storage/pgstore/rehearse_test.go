package pgstore

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// What a rehearsal says is what the real opening says, and it changes nothing.
func TestARehearsalFindsWhatAnOpeningWouldBeRefusedFor(t *testing.T) {
	owner := pgtest.Shared(t).Database(t)
	run(t, owner, "REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE rehearsing LOGIN PASSWORD 'p'")
	t.Cleanup(func() { run(t, owner, "DROP OWNED BY rehearsing; DROP ROLE rehearsing") })
	poor := strings.Replace(owner, "postgres@", "rehearsing:p@", 1)
	byHand := quiet(owner)
	byHand.MigrateByHand = true
	rehearse := func(o Options) error {
		t.Helper()
		s, err := Look(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		return s.Rehearse(t.Context(), true)
	}
	for _, row := range []struct {
		name string
		o    Options
		want string // of the rehearsal and of the opening; empty: neither is refused
	}{
		{"a role that may not make tables", quiet(poor), "00001_records.sql"},
		{"a schema that is applied by hand", byHand, "by_hand: see the SQL with holdfast store migrate --print"},
		{"a role that may", quiet(owner), ""},
	} {
		said := rehearse(row.o)
		s, err := Open(t.Context(), row.o)
		if s != nil {
			_ = s.Close()
		}
		for _, err := range []error{said, err} {
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("%s: %v", row.name, err)
			}
		}
	}
	if err := rehearse(byHand); err != nil {
		t.Errorf("of a schema that is there: %v", err)
	}
	run(t, owner, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO rehearsing")
	if err := rehearse(quiet(poor)); err == nil || !strings.Contains(err.Error(), "lacks INSERT on holdfast_record") || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("of a role that may only read: %v", err)
	}
}

// Who only looks is not kept from it by a migration that the next start applies.
func TestASchemaOfTheReleaseBeforeCanBeLookedAt(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	s := opened(t, quiet(dsn))
	if err := s.SwapHeader(t.Context(), nil, []byte("h")); err != nil {
		t.Fatal(err)
	}
	next := quiet(dsn)
	next.migrations = withNext(t, "ALTER TABLE holdfast_record ADD COLUMN hint text;")
	for _, byHand := range []bool{false, true} {
		next.MigrateByHand = byHand
		seen, err := Look(t.Context(), next)
		if err != nil {
			t.Fatalf("by hand %v: %v", byHand, err)
		}
		h, herr := seen.Header(t.Context())
		p, perr := seen.Prepared(t.Context())
		if err := errors.Join(herr, perr, seen.Close()); err != nil || string(h) != "h" || !slices.Equal(p.Pending, []string{"09999_next.sql"}) || len(p.Rights) > 0 {
			t.Errorf("by hand %v: header %q, %+v, %v", byHand, h, p, err)
		}
	}
	if got := applied(t, dsn); !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("looking applied %v", got)
	}
}
