package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	"github.com/holdfast-io/holdfast/e2e/rig"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"holdfast": func() { os.Exit(execute()) }})
}

func TestScripts(t *testing.T) {
	server := sync.OnceValue(func() *pgtest.Server { return pgtest.Start(t) })
	// database NAME sets the variable NAME to the connection string of an empty database.
	database := func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: database NAME")
		}
		dsn, err := server().NewDatabase()
		ts.Check(err)
		ts.Setenv(args[0], dsn)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "certs": certs, "await": await, "ports": ports, "taken": taken, "envsubst": envsubst, "fetch": fetch, "freeport": freeport, "listening": listening,
			"database": database,
		},
	})
}

// exits CODE COMMAND... runs a command that must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// certs DIR NAME leaves development certificates in DIR; the client is NAME.
func certs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certs DIR NAME")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(devca.Ensure(dir, args[1], time.Now()))
}

// freeport NAME sets the variable NAME to a port of loopback that is free now.
func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport NAME")
	}
	ts.Check(listen(ts, args[0]).Close())
}

// listening PORT waits until something listens on that port of loopback.
func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listening PORT")
	}
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", args[0]), time.Second)
		if err == nil {
			ts.Check(conn.Close())
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing listens: %v", err)
		}
	}
}

// await COMMAND... repeats a command until it succeeds. It waits for another
// process, so that asking it again and again is the only way to know.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: await COMMAND...")
	}
	deadline := time.Now().Add(time.Minute)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("still not: %v", err)
		}
	}
}

// ports NAME... sets each to a port of loopback that is free now.
func ports(ts *testscript.TestScript, neg bool, names []string) {
	if neg || len(names) == 0 {
		ts.Fatalf("usage: ports NAME...")
	}
	for _, name := range names {
		lis := listen(ts, name)
		defer func() { _ = lis.Close() }() // all stay taken until each has one
	}
}

// taken NAME sets it to a port of loopback that is taken until the test ends.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: taken NAME")
	}
	lis := listen(ts, args[0])
	ts.Defer(func() { _ = lis.Close() })
}

// listen takes a port that nobody else takes while the script runs, and sets name to it.
func listen(ts *testscript.TestScript, name string) net.Listener {
	addr, release, err := rig.ReserveAddress()
	ts.Check(err)
	ts.Defer(release)
	_, port, err := net.SplitHostPort(addr)
	ts.Check(err)
	ts.Setenv(name, port)
	lis, err := net.Listen("tcp", addr)
	ts.Check(err)
	return lis
}

// envsubst FILE replaces $NAME in it by the script's variables.
func envsubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: envsubst FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// fetch URL asks until it is answered and makes the answer the script's stdout.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fetch URL")
	}
	deadline := time.Now().Add(time.Minute)
	for {
		answer, err := http.Get(args[0])
		if err == nil {
			_, err = io.Copy(ts.Stdout(), answer.Body)
			ts.Check(errors.Join(err, answer.Body.Close()))
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("still not: %v", err)
		}
	}
}
