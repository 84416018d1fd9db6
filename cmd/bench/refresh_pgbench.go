package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// pgbenchSlice is how long each side has its turn: pgbench counts in seconds.
const pgbenchSlice = time.Second

// pairsDatabase is that of pgbench, with the product's tables.
const pairsDatabase = "pairs"

// pgbench writes what a rotation writes, and nothing else: two transactions of one
// statement each, which stores a grant's record anew and appends to its journal.
type pgbench struct {
	program, script, dsn string
	grants               int
	// next is the first number that no pair has had: as many as there were pairs.
	next int64
	// values for the script: what a record holds, and an entry.
	values []string
}

// pairScript is a rotation's. Clients take one grant after another between them, as a
// broker's callers do. The values come with the statements: what a statement leaves
// as it is, PostgreSQL does not write.
const pairScript = `\set n :n + 1
\set g (:client_id + :n * :clients) % :grants
` + pairWrite + `
` + pairWrite + `
`

const pairWrite = `WITH e AS (INSERT INTO holdfast_journal (grant_id, seq, sealed) SELECT lpad(:g::text, 30, '0'), nextval('pair_entry'), :entry) ` +
	`UPDATE holdfast_record SET version = version + 1, public = :public, sealed = :sealed, due = clock_timestamp() + interval '1 minute', ` +
	`due_nanos = 0, claimed_until = NULL WHERE kind = 1 AND id = lpad(:g::text, 30, '0');`

// fillPairs makes of the one grant in the database so many that are like it.
const fillPairs = `CREATE SEQUENCE pair_entry START 1000;
INSERT INTO holdfast_record (kind, id, version, public, sealed, due, due_nanos)
SELECT r.kind, lpad(n::text, 30, '0'), r.version, r.public, r.sealed, r.due, r.due_nanos
FROM holdfast_record AS r CROSS JOIN generate_series(0, %[1]d - 1) AS n WHERE r.kind = 1 ORDER BY n;
INSERT INTO holdfast_journal (grant_id, seq, sealed)
SELECT lpad(n::text, 30, '0'), j.seq, j.sealed FROM holdfast_journal AS j CROSS JOIN generate_series(0, %[1]d - 1) AS n ORDER BY n`

// startPostgres starts the server, and fills the database of pgbench.
func (c *refreshContest) startPostgres(ctx context.Context, o refreshFlags, dir string, certs tlsFiles) (err error) {
	if c.server, err = startPostgres(logTo(c.log), measuredSettings()...); err != nil {
		return err
	}
	store, err := c.server.database(dir, pairsDatabase)
	if err != nil {
		return err
	}
	cfg, err := writeConfig(serveCommand{TLS: certs, Dir: filepath.Join(dir, "pairs"), Store: store})
	if err != nil {
		return err
	}
	if _, err := seedExpired(ctx, node.Options{Config: cfg, Log: quietLog()}, 1); err != nil {
		return fmt.Errorf("storing a grant for pgbench: %w", err)
	}
	p := &pgbench{script: filepath.Join(dir, "pair.sql"), dsn: c.server.DSN(pairsDatabase), grants: o.grants}
	h := &harness{}
	if err := h.try(func() { p.program = filepath.Join(pgtest.Binaries(h), "pgbench") }); err != nil {
		return err
	}
	for name, length := range map[string]string{
		"public": "SELECT max(length(public)) FROM holdfast_record WHERE kind = 1",
		"sealed": "SELECT max(length(sealed)) FROM holdfast_record WHERE kind = 1",
		"entry":  "SELECT max(length(sealed)) FROM holdfast_journal",
	} {
		size, err := c.server.number(pairsDatabase, length)
		if err != nil {
			return err
		}
		value := make([]byte, size)
		_, _ = rand.Read(value) // it never fails; PostgreSQL can not compress it, nor what is sealed
		p.values = append(p.values, "-D", name+`=\x`+hex.EncodeToString(value))
	}
	if err := os.WriteFile(p.script, []byte(pairScript), 0o600); err != nil {
		return err
	}
	c.pgbench = p
	if err := c.server.exec(pairsDatabase, fmt.Sprintf(fillPairs, o.grants)); err != nil {
		return fmt.Errorf("filling the database of pgbench: %w", err)
	}
	return nil
}

// pairTally is what pgbench did.
type pairTally struct {
	pairs   int64
	elapsed time.Duration
}

func (t *pairTally) rate() float64 { return float64(t.pairs) / t.elapsed.Seconds() }

// pairs gives pgbench its turn. The brokers stand still meanwhile: they would look
// every half second at what they served lately, which is their own cost.
func (c *refreshContest) pairs(ctx context.Context, rc refreshCase, t *pairTally) (err error) {
	for _, b := range c.brokers {
		if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.cmd.Process.Signal(syscall.SIGCONT)) }()
	}
	got, err := c.pgbench.run(ctx, rc.callers)
	t.pairs, t.elapsed = t.pairs+got.pairs, t.elapsed+got.elapsed
	return err
}

// run runs pgbench for one slice with so many clients, each on a connection of its own.
func (p *pgbench) run(ctx context.Context, clients int) (t pairTally, err error) {
	args := append([]string{
		"-n", "-M", "prepared", "-f", p.script, "-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(clients, 2)), "-T", strconv.Itoa(int(pgbenchSlice / time.Second)),
		"-D", "n=" + strconv.FormatInt(p.next, 10), "-D", "clients=" + strconv.Itoa(clients), "-D", "grants=" + strconv.Itoa(p.grants),
	}, p.values...)
	cmd := exec.CommandContext(ctx, p.program, append(args, p.dsn)...)
	// A statement is planned once for each connection, as the broker's are.
	cmd.Env = append(os.Environ(), "PGOPTIONS=-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return t, fmt.Errorf("pgbench: %w\n%s", err, errs.String())
	}
	t, err = readPgbench(out.String())
	p.next += t.pairs
	return t, err
}

// checkPairs fails unless pgbench has written what it counted.
func (c *refreshContest) checkPairs() error {
	if c.pgbench == nil {
		return nil
	}
	written, err := c.server.number(pairsDatabase, "SELECT sum(version) - count(*) FROM holdfast_record WHERE kind = 1")
	if err == nil && written != 2*c.pgbench.next {
		err = fmt.Errorf("pgbench counted %d pairs and changed %d records", c.pgbench.next, written)
	}
	return err
}

var (
	pgbenchPairs = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)
	pgbenchRate  = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
)

// readPgbench reads its report: how many pairs, and the time without connecting.
func readPgbench(report string) (t pairTally, err error) {
	pairs, rate := pgbenchPairs.FindStringSubmatch(report), pgbenchRate.FindStringSubmatch(report)
	if pairs == nil || rate == nil {
		return t, fmt.Errorf("pgbench reports neither pairs nor their rate as those of PostgreSQL 14 and later do:\n%s", report)
	}
	t.pairs, _ = strconv.ParseInt(pairs[1], 10, 64) // digits, by the pattern
	tps, err := strconv.ParseFloat(rate[1], 64)
	if err != nil || tps <= 0 || t.pairs == 0 {
		return t, fmt.Errorf("pgbench wrote nothing:\n%s", report)
	}
	t.elapsed = time.Duration(float64(t.pairs) / tps * float64(time.Second))
	return t, nil
}

// onPostgres reads the flag -store.
func onPostgres(store string) (bool, error) {
	switch store {
	case "badger":
		return false, nil
	case "postgres":
		return true, nil
	}
	return false, usageError{fmt.Errorf("-store %q: want badger or postgres", store)}
}
