package pgtest

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/internal/freeport"
)

// Server is one PostgreSQL server. Its methods fail the test that they are given
// if they cannot do what they say. It is not safe for concurrent use, but for
// DSN, Addr and Database.
type Server struct {
	bin  string
	dir  string
	port int
	cred *syscall.Credential
	// settings go to the end of the server's configuration.
	settings []string
	cmd      *exec.Cmd
	// keeper ends the server and removes its directory when leash is closed,
	// which the death of this process does too.
	keeper *exec.Cmd
	leash  io.Closer
	// number of the next database.
	databases atomicCounter
}

// Option of Start.
type Option func(*Server)

// WithoutSync has the server not sync: for tests that only want speed.
func WithoutSync() Option { return Setting("fsync", "off") }

// Setting gives the server's configuration a value.
func Setting(name, value string) Option {
	return func(s *Server) {
		s.settings = append(s.settings, fmt.Sprintf("%s = '%s'", name, strings.ReplaceAll(value, "'", "''")))
	}
}

// startWithin bounds what a server needs to start or to stop on a busy machine.
const startWithin = time.Minute

// Start starts a server, which ends with the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := prepare(t, opts)
	t.Cleanup(func() { s.end(t.Logf) })
	s.initialise(t)
	s.StartAgain(t)
	return s
}

// prepare makes the server's directory and its keeper, and no data yet.
func prepare(t testing.TB, opts []Option) *Server {
	t.Helper()
	s := &Server{bin: Binaries(t), cred: Credential(t), port: freePort(t)}
	for _, o := range opts {
		o(s)
	}
	dir, err := os.MkdirTemp("", "hfpg") //nolint:usetesting // short, since a socket's path has at most 107 bytes, and it outlives a test
	if err != nil {
		t.Fatal(err)
	}
	s.dir = dir
	if s.cred != nil {
		if err := os.Chown(dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s.keep(t)
	return s
}

// keeperScript reads until the process of the tests closes the pipe or dies.
const keeperScript = `cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
[ "$(cat /proc/"$pid"/comm 2>/dev/null)" = postgres ] && kill -QUIT "$pid" && kill -CONT "$pid" && sleep 0.5
rm -rf "$1"`

func (s *Server) keep(t testing.TB) {
	t.Helper()
	// Not bound to the test's context: it outlives the test on purpose.
	s.keeper = exec.Command("sh", "-c", keeperScript, "keeper", s.dir) //nolint:noctx,gosec // see above; the script is a constant
	s.keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	leash, err := s.keeper.StdinPipe()
	if err == nil {
		err = s.keeper.Start()
	}
	if err != nil {
		t.Fatalf("starting the keeper of a server: %v", err)
	}
	s.leash = leash
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) initialise(t testing.TB) {
	t.Helper()
	s.run(t, "initdb", "--no-sync", "--no-instructions", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
	s.configure(t)
	s.write(t, "pg_hba.conf", "local all all trust\nlocal replication all trust\n"+
		"host all postgres 127.0.0.1/32 trust\nhost replication postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
}

// configure appends to the configuration; of two values of one name the last one rules.
func (s *Server) configure(t testing.TB) {
	t.Helper()
	name := filepath.Join(s.data(), "postgresql.conf")
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := append([]string{
		string(old),
		"listen_addresses = '127.0.0.1'", fmt.Sprintf("port = %d", s.port), fmt.Sprintf("unix_socket_directories = '%s'", s.dir),
		"max_connections = 200", "shared_buffers = '32MB'", "wal_level = replica", "max_wal_senders = 8", "wal_keep_size = '64MB'",
		"log_min_messages = warning", "timezone = 'UTC'",
	}, s.settings...)
	s.write(t, "postgresql.conf", strings.Join(lines, "\n")+"\n")
}

func (s *Server) write(t testing.TB, name, content string) {
	t.Helper()
	path := filepath.Join(s.data(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil { // keeps the owner that initdb gave it
		t.Fatal(err)
	}
}

// run runs one of the server's programs to its end.
func (s *Server) run(t testing.TB, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...) //nolint:gosec // the programs are named in this package
	c.Dir, c.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// freePort is one for the server, which comes back on it after a restart.
func freePort(t testing.TB) int {
	t.Helper()
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return int(netip.MustParseAddrPort(addr).Port())
}

// Addr is the server's loopback address, for a proxy in front of it.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// SocketDir is the directory of the server's unix socket.
func (s *Server) SocketDir() string { return s.dir }

// DSN is the superuser's connection string for a database, over TCP.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", s.Addr(), database)
}

// Database makes an empty database, which ends with the test, and returns its DSN.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name, err := s.newDatabase()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.exec("postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Logf("dropping %s: %v", name, err) // the test may have stopped the server
		}
	})
	return s.DSN(name)
}

// NewDatabase makes an empty database, which ends with the server, and returns its DSN.
func (s *Server) NewDatabase() (string, error) {
	name, err := s.newDatabase()
	return s.DSN(name), err
}

func (s *Server) newDatabase() (name string, err error) {
	name = fmt.Sprintf("test_%d", s.databases.next())
	if err := s.exec("postgres", "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("making a database: %w", err)
	}
	return name, nil
}

// Exec runs statements in a database as the superuser.
func (s *Server) Exec(t testing.TB, database, sql string) {
	t.Helper()
	if err := s.exec(database, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Ask returns the one value that a question has for its answer, as text.
func (s *Server) Ask(t testing.TB, database, question string) (answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	c, err := pgx.Connect(ctx, s.DSN(database))
	if err == nil {
		err = c.QueryRow(ctx, question, pgx.QueryExecModeSimpleProtocol).Scan(&answer)
		_ = c.Close(ctx) // nothing is lost by a bad farewell
	}
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	return answer
}

func (s *Server) exec(database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	c, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	_ = c.Close(ctx) // nothing is lost by a bad farewell
	return err
}
