package pgstore_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

func TestAStoreGoesOnAfterItsSessionsWereEnded(t *testing.T) {
	server := pgtest.Shared(t)
	dsn := server.Database(t)
	one, other := open(t, dsn), open(t, dsn)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan storage.Key, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- other.Follow(ctx, func(k storage.Key) {
			select {
			case heard <- k:
			default:
			}
		})
	}()
	version := storage.Version(0)
	hears := func() {
		t.Helper()
		for range 200 {
			put(t, one, "g", version)
			version++
			select {
			case k := <-heard:
				if k != key("g") {
					t.Errorf("heard of %v", k)
				}
				for len(heard) > 0 {
					<-heard
				}
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		t.Fatal("nothing was heard")
	}
	hears()
	c := session(t, dsn)
	for range 3 {
		exec(t, c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		wantVersion(t, other, "g", version)
		put(t, one, "g", version)
		version++
		hears()
	}
	cancel()
	wantErr(t, "Follow", <-ended, context.Canceled)
}

func TestCallsEndWhenTheServerHangsOrIsGone(t *testing.T) {
	server := pgtest.Start(t)
	dsn := server.Database(t)
	s := open(t, dsn)
	put(t, s, "g", 0)
	calls := map[string]func(ctx context.Context) error{
		"Get":      func(ctx context.Context) error { _, err := s.Get(ctx, key("g")); return err },
		"Swap":     func(ctx context.Context) error { return s.Swap(ctx, change("h", 0), nil) },
		"Versions": func(ctx context.Context) error { _, _, err := s.Versions(ctx, []storage.Key{key("g")}); return err },
		"Reseal":   func(ctx context.Context) error { return s.Reseal(ctx, nil) },
		"Claim": func(ctx context.Context) error {
			_, err := s.Claim(ctx, storage.Span{Before: time.Now()}, time.Second, 1)
			return err
		},
	}
	for _, row := range []struct {
		name       string
		break_, up func(testing.TB)
	}{{"paused", server.Pause, server.Resume}, {"killed", server.Kill, server.StartAgain}} {
		row.break_(t)
		for name, call := range calls {
			began := time.Now()
			err := briefly(t, call)
			if err == nil || !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrUnknown) {
				t.Errorf("%s of a server that is %s: %v", name, row.name, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s of a server that is %s took %v", name, row.name, took)
			}
		}
		row.up(t)
		wantVersion(t, s, "g", 1)
	}
	for version := storage.Version(0); ; version++ { // whether the swaps before happened is open
		if err := s.Swap(t.Context(), change("h", version), nil); err == nil {
			break
		} else if !errors.Is(err, storage.ErrConflict) || version > 5 {
			t.Fatal(err)
		}
	}
}

// PostgreSQL reports a commit as done whose wait for a standby was cancelled.
func TestACommitThatNoStandbyHasIsUnknown(t *testing.T) {
	server := pgtest.Start(t)
	dsn := server.Database(t)
	s := open(t, dsn)
	put(t, s, "g", 0)
	c := session(t, dsn)
	exec(t, c, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	exec(t, c, "SELECT pg_reload_conf()")
	awaitTrue(t, c, "SELECT current_setting('synchronous_standby_names') = 'nobody'")
	done := make(chan error, 1)
	go func() { done <- s.Swap(t.Context(), change("g", 1), nil) }()
	awaitTrue(t, c, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep')")
	exec(t, c, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'")
	wantErr(t, "the swap", <-done, storage.ErrUnknown)
	err := briefly(t, func(ctx context.Context) error { _, err := s.Get(ctx, key("g")); return err })
	wantErr(t, "reading what no standby has", err, storage.ErrUnavailable)
	exec(t, c, "ALTER SYSTEM RESET synchronous_standby_names")
	exec(t, c, "SELECT pg_reload_conf()")
	wantVersion(t, s, "g", 2)
}

func TestNoErrorShowsThePassword(t *testing.T) {
	server := pgtest.Shared(t)
	server.Exec(t, "postgres", "DROP ROLE IF EXISTS somebody")
	server.Exec(t, "postgres", "CREATE ROLE somebody LOGIN PASSWORD 'another'")
	const password = "hunter2hunter2"
	for _, dsn := range []string{
		"postgres://somebody:" + password + "@" + server.Addr() + "/postgres?sslmode=disable",
		"postgres://somebody:" + password + "@127.0.0.1:1/postgres?sslmode=disable",
		"postgres://somebody:" + password + "@127.0.0.1:port/postgres",
		"host=127.0.0.1 password=" + password + " port=x",
		"postgres://somebody:" + password + "@" + server.Addr() + "/postgres?sslmode=verify-full",
	} {
		_, err := pgstore.Open(t.Context(), pgstore.Options{DSN: secret.New(dsn), Log: slog.New(slog.DiscardHandler)})
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("got %v", err)
		}
	}
}
