package config

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage/pgstore"
)

// The kinds of stores.
const (
	StoreBadger   = "badger"
	StorePostgres = "postgres"
)

// The ways in which the schema of a database is brought up to date.
const (
	MigrateAuto   = "auto"
	MigrateByHand = "by_hand"
)

const (
	// leastStale is what a replica believes its memory for anyway; most is where a
	// revocation that an unreachable replica does not know of becomes unreasonable.
	leastStale, mostStale = time.Second, time.Hour
	mostConnections       = 100
)

// Store says where the grants live.
type Store struct {
	// Kind is "badger", for one replica, or "postgres", for several. Default "badger".
	Kind string `yaml:"kind"`
	// Dir of the embedded store; made if it does not exist. Of kind postgres it holds
	// what is one replica's own: settlements that could not be stored, and a log of
	// its newest commits. Required, on a disk of its own that survives a restart.
	Dir string `yaml:"dir"`
	// WitnessFile tells a copy or an older state of the store from the store
	// itself. It must not lie in Dir; best is another disk. Default: Dir + ".witness".
	WitnessFile string `yaml:"witness_file"`
	// Postgres is the database of kind postgres.
	Postgres Postgres `yaml:"postgres"`
	// ServeStaleFor is how long a replica serves valid tokens from memory while the
	// database does not answer: the longer, the more is available, and the later a
	// revocation on another replica binds. 1s to 1h, and never longer than the
	// provider's access grace; default 5m. Of kind postgres only.
	ServeStaleFor time.Duration `yaml:"serve_stale_for"`
}

// Postgres names a database. All replicas name the same one.
type Postgres struct {
	// DSNFile holds the connection string, as a URL or in keywords and values, or
	// DSNEnv names the environment variable that does; one of the two is required.
	// Several hosts may be named: the one that takes writes is used.
	DSNFile string `yaml:"dsn_file"`
	DSNEnv  string `yaml:"dsn_env"`
	// Migrate is "auto": a start brings the schema up to date; or "by_hand": it
	// refuses a schema that is not, see `holdfast store migrate`. Default "auto".
	Migrate string `yaml:"migrate"`
	// Connections that read at once, 1 to 100; up to seven more write and listen. Default 8.
	Connections int `yaml:"connections"`
}

// DSN reads the connection string. Errors say where it should be, and nothing of it.
func (p *Postgres) DSN() (secret.String, error) {
	if p.DSNEnv != "" {
		if text := strings.TrimSpace(os.Getenv(p.DSNEnv)); text != "" {
			return secret.New(text), nil
		}
		return secret.String{}, fmt.Errorf("store.postgres.dsn_env: the environment variable %s is empty: set it to the connection string", p.DSNEnv)
	}
	text, err := os.ReadFile(p.DSNFile)
	if err != nil {
		return secret.String{}, fmt.Errorf("store.postgres.dsn_file: %w", err)
	}
	if dsn := strings.TrimSpace(string(text)); dsn != "" {
		return secret.New(dsn), nil
	}
	return secret.String{}, fmt.Errorf("store.postgres.dsn_file: %s holds blanks only: write the connection string into it", p.DSNFile)
}

// Source says where DSN reads, for people.
func (p *Postgres) Source() string {
	if p.DSNEnv != "" {
		return "the environment variable " + p.DSNEnv + " (store.postgres.dsn_env)"
	}
	return p.DSNFile + " (store.postgres.dsn_file)"
}

// parses is an error if the connection string is none. It says nothing of its secrets.
func (p *Postgres) parses() error {
	dsn, err := p.DSN()
	if err == nil {
		_, err = pgstore.Describe(dsn)
	}
	return err
}

func (s *Store) applyDefaults() {
	if s.Kind == "" {
		s.Kind = StoreBadger
	}
	if s.Kind != StorePostgres {
		return
	}
	if s.Postgres.Migrate == "" {
		s.Postgres.Migrate = MigrateAuto
	}
	if s.ServeStaleFor == 0 {
		s.ServeStaleFor = broker.DefaultServeStaleFor
	}
}

func (s *Store) validate(r *report) {
	r.oneOf("store.kind", s.Kind, StoreBadger, StorePostgres)
	r.required("store.dir", s.Dir, "give the directory of the store, e.g. /var/lib/holdfast")
	if s.Kind == StorePostgres {
		s.validateShared(r)
		return
	}
	if s.ServeStaleFor != 0 {
		r.add("store.serve_stale_for", "an embedded store is one replica's own: leave it out, or set store.kind: %s", StorePostgres)
	}
	if s.Postgres != (Postgres{}) {
		r.add("store.postgres", "the store is embedded: leave the section out, or set store.kind: %s", StorePostgres)
	}
}

func (s *Store) validateShared(r *report) {
	const path = "store.postgres"
	p := &s.Postgres
	switch {
	case p.DSNFile != "" && p.DSNEnv != "":
		r.add(path+".dsn_env", "the connection string is in dsn_file already; leave one of the two out")
	case p.DSNEnv != "":
		if _, err := p.DSN(); err != nil {
			r.add(path+".dsn_env", "%s", strings.TrimPrefix(err.Error(), path+".dsn_env: "))
		} else if err := p.parses(); err != nil {
			r.add(path+".dsn_env", "%s: %v", p.DSNEnv, err)
		}
	default:
		r.requiredFile(path+".dsn_file", p.DSNFile, "write the connection string, e.g. postgres://holdfast:PASSWORD@db.example.com/holdfast, into a file and name it")
		if r.fine(path+".dsn_file", p.DSNFile) {
			r.private(path+".dsn_file", p.DSNFile)
			if err := p.parses(); err != nil {
				r.add(path+".dsn_file", "%s", strings.TrimPrefix(err.Error(), path+".dsn_file: "))
			}
		}
	}
	r.oneOf(path+".migrate", p.Migrate, MigrateAuto, MigrateByHand)
	if p.Connections < 0 || p.Connections > mostConnections {
		r.add(path+".connections", "%d is not from 1 to %d", p.Connections, mostConnections)
	}
	if s.ServeStaleFor < leastStale || s.ServeStaleFor > mostStale {
		r.add("store.serve_stale_for", "%v is not from %v to %v", s.ServeStaleFor, leastStale, mostStale)
	}
}
