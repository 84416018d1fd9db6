package doctor

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

func TestWhatACommitSurvivesIsToldApart(t *testing.T) {
	good := pgstore.Durability{SynchronousCommit: "on", SynchronousStandbys: "FIRST 1 (b, c)", Fsync: true, FullPageWrites: true, Standbys: 2}
	for _, row := range []struct {
		name         string
		edit         func(*pgstore.Durability)
		sync, copies State
		found, do    string
	}{
		{"a synchronous standby", func(*pgstore.Durability) {}, Good, Good, "FIRST 1 (b, c)", ""},
		{"no standby at all", func(d *pgstore.Durability) { d.SynchronousStandbys, d.Standbys = "", 0 }, Good, Look, "there is no standby", "give the database a standby"},
		{"an asynchronous standby", func(d *pgstore.Durability) { d.SynchronousStandbys, d.Standbys = "", 1 }, Good, Look, "asynchronous: of the 1 standbys", "synchronous_standby_names"},
		{"a synchronous standby that is away", func(d *pgstore.Durability) { d.Standbys = 0 }, Good, Bad, "none is connected", "start a standby"},
		{"commits that wait for nobody", func(d *pgstore.Durability) { d.SynchronousCommit = "local" }, Good, Look, "asynchronous", "synchronous_standby_names"},
		{"commits that are not synced", func(d *pgstore.Durability) { d.SynchronousCommit = "off" }, Bad, Look, "asynchronous", "synchronous_standby_names"},
		{"no sync", func(d *pgstore.Durability) { d.Fsync = false }, Bad, Good, "FIRST", ""},
		{"torn pages", func(d *pgstore.Durability) { d.FullPageWrites = false }, Bad, Good, "FIRST", ""},
	} {
		d := good
		row.edit(&d)
		local, copies := localDurability(&d), standbys(&d)
		if local.State != row.sync || copies.State != row.copies || !strings.Contains(copies.Found, row.found) || !strings.Contains(copies.Do, row.do) {
			t.Errorf("%s: %+v, %+v", row.name, local, copies)
		}
		for _, f := range []Finding{local, copies} {
			if (f.State == Good) != (f.Do == "") {
				t.Errorf("%s: %s is %s and says to do %q", row.name, f.Check, f.State, f.Do)
			}
		}
	}
}

func TestTheDatabaseIsLookedAtWithoutBeingChanged(t *testing.T) {
	server := pgtest.Start(t)
	place := func(dsn string) *storage.Config {
		return &storage.Config{Database: pgstore.Place("a database", pgstore.Options{DSN: secret.New(dsn)})}
	}
	// Before there is a schema, and after it.
	for range 2 {
		found := replication(t.Context(), place(server.DSN("postgres")))
		if len(found) != 5 || found[0].State != Good || found[1].State != Good || found[2].State != Look || found[3].State != Good || !strings.Contains(found[3].Found, "does not leave the machine") ||
			found[4].State != Good || !strings.Contains(found[4].Found, "timeline, which is 1") {
			t.Errorf("found %+v", found)
		}
		s, err := pgstore.Open(t.Context(), pgstore.Options{DSN: secret.New(server.DSN("postgres"))})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	server.Stop(t)
	if found := replication(t.Context(), place(server.DSN("postgres"))); len(found) != 1 || found[0].State != Bad {
		t.Errorf("of a server that is away: %+v", found)
	}
	if found := replication(t.Context(), &storage.Config{}); len(found) > 0 {
		t.Errorf("of a store in a directory: %+v", found)
	}
}

func TestWhoElseIsOnTheWayToTheDatabaseIsTold(t *testing.T) {
	for c, want := range map[pgstore.Channel]State{
		pgstore.ChannelLocal: Good, pgstore.ChannelVerified: Good, pgstore.ChannelUnverified: Look, pgstore.ChannelClear: Look,
	} {
		if f := channel(c); f.State != want || (f.State == Good) != (f.Do == "") {
			t.Errorf("%d: %+v", c, f)
		}
	}
}

func TestADatabaseThatNoBrokerCanUseYetIsTold(t *testing.T) {
	for _, row := range []struct {
		p    pgstore.Preparation
		want State
		says string
	}{
		{pgstore.Preparation{}, Good, "has the rights"},
		{pgstore.Preparation{ByHand: true}, Good, "has the rights"},
		{pgstore.Preparation{Pending: []string{"1.sql"}}, Good, "next start of a broker applies 1.sql"},
		{pgstore.Preparation{Pending: []string{"1.sql", "2.sql"}, ByHand: true}, Bad, "lacks 1.sql, 2.sql, and store.postgres.migrate is by_hand"},
		{pgstore.Preparation{Pending: []string{"1.sql"}, Rights: []string{"CREATE on schema public"}}, Bad, "lacks 1.sql, and the broker's role lacks CREATE on schema public"},
		{pgstore.Preparation{Rights: []string{"DELETE on holdfast_journal"}}, Bad, "role lacks DELETE on holdfast_journal"},
	} {
		if f := prepared(&row.p); f.State != row.want || !strings.Contains(f.Found, row.says) || (f.State == Good) != (f.Do == "") {
			t.Errorf("%+v: %+v", row.p, f)
		}
	}
}
