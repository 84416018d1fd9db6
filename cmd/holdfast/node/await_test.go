package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
	"github.com/holdfast-io/holdfast/storage/seal"
)

func TestAStartWaitsForItsKeyProviderAndItsDatabaseForABoundedTime(t *testing.T) {
	noKey, noDatabase := fmt.Errorf("%w: no answer", seal.ErrUnavailable), fmt.Errorf("%w: starting up", pgstore.ErrAway)
	inUse := fmt.Errorf("%w: in use by another process", storage.ErrUnavailable)
	for _, row := range []struct {
		name   string
		down   error
		up     time.Duration // when it answers; 0: never
		cancel time.Duration // when somebody stops the start; 0: nobody
		took   time.Duration // at most
		lines  int           // of the log, at most
		want   error
	}{
		{"a key provider, at once", noKey, 1, 0, 0, 0, nil},
		{"a key provider, after a minute", noKey, time.Minute, 0, 80 * time.Second, 10, nil},
		{"a key provider, never", noKey, 0, 0, keyPatience, 14, seal.ErrUnavailable},
		{"a key provider, until it is stopped", noKey, 0, 20 * time.Second, 20 * time.Second, 6, context.Canceled},
		{"a database, after 30 seconds", noDatabase, 30 * time.Second, 0, 36 * time.Second, 10, nil},
		{"a database, never", noDatabase, 0, 0, databasePatience, 16, pgstore.ErrAway},
		{"a database, until it is stopped", noDatabase, 0, 20 * time.Second, 20 * time.Second, 8, context.Canceled},
		{"a store of another process", inUse, 0, 0, 0, 0, storage.ErrUnavailable},
		{"nothing that waiting helps against", errWrong, 0, 0, 0, 0, errWrong},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if row.cancel > 0 {
				time.AfterFunc(row.cancel, cancel)
			}
			var log bytes.Buffer
			started, opened := time.Now(), &storage.Store{}
			s, err := awaitStore(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(context.Context) (*storage.Store, error) {
				if row.up > 0 && time.Since(started) >= row.up-1 {
					return opened, nil
				}
				return nil, row.down
			})
			if took := time.Since(started); took > row.took || row.up == 0 && row.cancel == 0 && took < row.took*3/4 {
				t.Errorf("%s: it took %v, want %v or a little less", row.name, took, row.took)
			}
			if n := strings.Count(log.String(), "it is tried again"); n > row.lines || row.took > 0 && n == 0 {
				t.Errorf("%s: %d lines in the log, want at most %d:\n%s", row.name, n, row.lines, log.String())
			}
			if !errors.Is(err, row.want) || row.want == nil && s != opened {
				t.Errorf("%s: got %v, want %v", row.name, err, row.want)
			}
		})
	}
}

var errWrong = errors.New("wrong KEK")

// A start that has waited for the database has all its patience for the key provider.
func TestEachThingThatIsWaitedForHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		_, err := awaitStore(t.Context(), slog.New(slog.DiscardHandler), func(context.Context) (*storage.Store, error) {
			if time.Since(started) < 50*time.Second {
				return nil, pgstore.ErrAway
			}
			return nil, seal.ErrUnavailable
		})
		if took := time.Since(started); !errors.Is(err, seal.ErrUnavailable) || took < 50*time.Second+keyPatience/2 || !strings.Contains(err.Error(), "waits for 2m0s") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// tried tells of the log's lines about tries.
type tried struct {
	slog.Handler
	tries chan struct{}
}

func (h tried) Enabled(context.Context, slog.Level) bool { return true }

func (h tried) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h tried) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "database does not answer") {
		select {
		case h.tries <- struct{}{}:
		default:
		}
	}
	return nil
}

func TestANodeStartsOnceItsDatabaseDoes(t *testing.T) {
	server := pgtest.Start(t, pgtest.WithoutSync())
	dir, c := prepared(t)
	dsn := filepath.Join(dir, "dsn")
	if err := os.WriteFile(dsn, []byte(server.DSN("postgres")), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Store.Kind, c.Store.Postgres.DSNFile, c.Store.ServeStaleFor = config.StorePostgres, dsn, time.Minute
	server.Stop(t)
	o := options(c)
	h := tried{slog.DiscardHandler, make(chan struct{}, 1)}
	o.Log = slog.New(h)
	started := make(chan error, 1)
	go func() {
		n, err := Start(t.Context(), o)
		if err == nil {
			ended, end := context.WithCancel(t.Context())
			end()
			err = n.Wait(ended)
		}
		started <- err
	}()
	select {
	case <-h.tries:
	case err := <-started:
		t.Fatalf("the start has ended: %v", err)
	}
	server.StartAgain(t)
	if err := <-started; err != nil {
		t.Error(err)
	}
	// A password that is wrong is not waited for, and is said to be the configuration's.
	if err := os.WriteFile(dsn, []byte(server.DSN("postgres")+"&user=holdfast&password=hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), o)
	if _, input := errors.AsType[InputError](err); !input || !strings.Contains(err.Error(), dsn+" (store.postgres.dsn_file)") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("with a wrong password: %v", err)
	}
	if len(h.tries) > 0 {
		t.Error("a start with a wrong password waited for the database")
	}
}

// A certificate that does not pass will not pass later.
func TestADatabaseWhoseCertificateIsNotTrustedIsNotWaitedFor(t *testing.T) {
	dir, c := prepared(t)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, devca.ServerCert), filepath.Join(dir, devca.ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			// The request for TLS is of 8 bytes, and S agrees; then the client finds the certificate.
			if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil {
				_, _ = conn.Write([]byte("S"))
				_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}).Handshake() // the client breaks it off
			}
			_ = conn.Close() // see above
		}
	}()
	defer func() {
		_ = lis.Close() // ends the goroutine
		<-done
	}()
	dsn := filepath.Join(dir, "dsn")
	h := tried{slog.DiscardHandler, make(chan struct{}, 1)}
	o := options(c)
	o.Log = slog.New(h)
	c.Store.Kind, c.Store.Postgres.DSNFile, c.Store.ServeStaleFor = config.StorePostgres, dsn, time.Minute
	other := t.TempDir()
	if err := devca.Ensure(other, "dev", time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"verify-full", "verify-ca&sslrootcert=" + filepath.Join(other, devca.CACert)} {
		if err := os.WriteFile(dsn, []byte("postgres://a:hunter2@"+lis.Addr().String()+"/x?sslmode="+mode), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Start(t.Context(), o)
		if _, input := errors.AsType[InputError](err); !input || !strings.Contains(err.Error(), "correct host, sslmode and sslrootcert in "+dsn) || len(h.tries) > 0 {
			t.Errorf("%s: got %v", mode, err)
		}
	}
}
