package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// database of the store.
func (s *scaled) database() string { return "scale_" + sizeName(s.grants) }

// makeDatabase makes one for a store that wants one.
func (s *scaled) makeDatabase() (err error) {
	if s.server == nil {
		return nil
	}
	if err := os.MkdirAll(s.serve.Dir, 0o700); err != nil {
		return err
	}
	s.serve.Store, err = s.server.database(s.serve.Dir, s.database())
	return err
}

// settleDatabase does now what the server would do in the background some time
// after a load, and perhaps within a measurement.
func (s *scaled) settleDatabase(ctx context.Context) error {
	if s.server == nil {
		return nil
	}
	var bin string
	h := &harness{}
	if err := h.try(func() { bin = pgtest.Binaries(h) }); err != nil {
		return err
	}
	// It may take minutes, which no question to the server does.
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-q", "-X", "-v", "ON_ERROR_STOP=1",
		"-d", s.server.DSN(s.database()), "-c", "VACUUM (ANALYZE)", "-c", "CHECKPOINT")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("vacuuming the database: %w\n%s", err, out)
	}
	return nil
}

// tableSizes are all of the product's tables, with their indexes and long values.
const tableSizes = `SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname LIKE 'holdfast\_%'`

// diskSize of the store in bytes.
func (s *scaled) diskSize() (int64, error) {
	if s.server == nil {
		return diskSize(s.storeDir())
	}
	return s.server.number(s.database(), tableSizes)
}

// files is the directory of the server's files.
func (s *postgresServer) files() string { return filepath.Join(s.SocketDir(), "data") }

// cool stops the server, drops its files from the page cache and starts it again.
func (s *postgresServer) cool() error {
	h := &harness{}
	var dropped error
	err := h.try(func() {
		s.Stop(h)
		dropped = dropCache(s.files())
		s.StartAgain(h)
	})
	return errors.Join(err, dropped)
}

// openDatabase times the product from a cold and a warm cache.
func (s *scaled) openDatabase(ctx context.Context, log io.Writer) error {
	for _, cache := range []struct {
		name    string
		prepare func() error
	}{{"cold", s.server.cool}, {"warm", func() error { return warmCache(s.server.files()) }}} {
		if err := cache.prepare(); err != nil {
			return err
		}
		r, _, err := s.ask(ctx, scaleReady, log)
		if err != nil {
			return err
		}
		s.note("ready_"+cache.name, milliseconds(r.Took))
		fmt.Fprintf(log, "bench: %s grants, %s cache: ready after %v\n", sizeName(s.grants), cache.name, r.Took.Round(time.Millisecond))
	}
	return nil
}

// noteGrowth notes what the changes have made of the size.
func (s *scaled) noteGrowth() error {
	size, err := s.diskSize()
	s.noteBeside("disk_changed", float64(size)/mib, s.values["disk_loaded"][0])
	return err
}

// changeDatabase stores the first n grants anew.
func changeDatabase(ctx context.Context, cfg *config.Config, n int) (*scaleReply, error) {
	store, err := node.OpenStore(ctx, cfg, node.Options{Config: cfg, Log: quietLog()})
	if err != nil {
		return nil, err
	}
	started := time.Now()
	err = changeEach(ctx, store, n)
	return &scaleReply{Took: time.Since(started)}, errors.Join(err, store.Close())
}
