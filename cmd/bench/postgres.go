package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// postgresServer is a private PostgreSQL server of this run, on the machine's own
// binaries and with everything synced.
type postgresServer struct {
	*pgtest.Server
	end func()
}

// startPostgres starts one; the caller calls end.
func startPostgres(log func(string, ...any), settings ...pgtest.Option) (s *postgresServer, err error) {
	h := &harness{log: log}
	err = h.try(func() { s = &postgresServer{Server: pgtest.Start(h, settings...), end: h.end} })
	if err != nil {
		h.end()
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return s, nil
}

// measuredSettings are those of a server whose speed is measured: PostgreSQL's
// own defaults, and room for as many connections as any case has callers.
func measuredSettings() []pgtest.Option {
	return []pgtest.Option{pgtest.Setting("shared_buffers", "128MB"), pgtest.Setting("max_connections", "400")}
}

// logTo writes a server's messages to w.
func logTo(w io.Writer) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}

// database makes an empty one, leaves its connection string in dir and returns
// the configuration's section of a store in it.
func (s *postgresServer) database(dir, name string) (store string, err error) {
	if err := s.exec("postgres", fmt.Sprintf("CREATE DATABASE %q", name)); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "dsn-"+name)
	if err := os.WriteFile(file, []byte(s.DSN(name)), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("{kind: postgres, dir: store, postgres: {dsn_file: %q}}", file), nil
}

// exec runs statements in a database.
func (s *postgresServer) exec(database, sql string) error {
	h := &harness{}
	return h.try(func() { s.Exec(h, database, sql) })
}

// number asks a database for one.
func (s *postgresServer) number(database, question string) (n int64, err error) {
	h := &harness{}
	var text string
	if err = h.try(func() { text = s.Ask(h, database, question) }); err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// harness lets what is written for tests be used in a program: a failure ends
// what try calls. Methods of testing.TB that it does not have are not called.
type harness struct {
	testing.TB
	log      func(string, ...any)
	failure  error
	cleanups []func()
}

// failed is what a failure panics with, for try.
type failed struct{}

func (h *harness) try(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, ours := p.(failed); !ours {
				panic(p)
			}
			err = h.failure
		}
	}()
	f()
	return nil
}

// end runs the cleanups, the newest first.
func (h *harness) end() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	h.cleanups = nil
}

// Context implements testing.TB.
func (h *harness) Context() context.Context { return context.Background() }

// Failed implements testing.TB.
func (h *harness) Failed() bool { return h.failure != nil }

// Helper implements testing.TB.
func (h *harness) Helper() {}

// Name implements testing.TB.
func (h *harness) Name() string { return "bench" }

// Cleanup implements testing.TB.
func (h *harness) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }

// Logf implements testing.TB.
func (h *harness) Logf(format string, args ...any) {
	if h.log != nil {
		h.log(format, args...)
	}
}

// Fatal implements testing.TB.
func (h *harness) Fatal(args ...any) {
	h.failure = fmt.Errorf("%s", fmt.Sprint(args...))
	panic(failed{})
}

// Fatalf implements testing.TB.
func (h *harness) Fatalf(format string, args ...any) {
	h.failure = fmt.Errorf(format, args...)
	panic(failed{})
}

// TempDir implements testing.TB.
func (h *harness) TempDir() string {
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) }) // a directory of the system's for temporary files
	return dir
}
