package pgstore_test

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage/pgstore"
)

func TestADatabaseIsNamedWithoutItsSecrets(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://holdfast:hunter2@a.example.com:5433,b.example.com/tokens?target_session_attrs=read-write": "database tokens at a.example.com:5433, b.example.com:5432",
		"host=db.example.com user=holdfast password=hunter2 dbname=tokens":                                    "database tokens at db.example.com:5432",
	} {
		got, err := pgstore.Describe(secret.New(dsn))
		if err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	for dsn, want := range map[string]string{
		"postgres://holdfast:hunter2@a:b:c/%zz":                                      "want postgres://USER:PASSWORD@",
		"postgres://holdfast:my@/hunter2@db.example.com/tokens":                      "written as %XX",
		"postgres://holdfast:hunter2@db/tokens?sslmode=verify":                       "sslmode is unknown",
		"postgres://holdfast:hunter2@db/tokens?sslmode=verify-full&sslrootcert=/n/a": "file that can not be read: open /n/a",
	} {
		if got, err := pgstore.Describe(secret.New(dsn)); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v", dsn, got, err)
		}
	}
}

func TestTheLeastProtectedWayToADatabaseCounts(t *testing.T) {
	for query, want := range map[string]pgstore.Channel{
		"db.example.com/tokens?sslmode=verify-full":              pgstore.ChannelVerified,
		"db.example.com/tokens?sslmode=verify-ca":                pgstore.ChannelVerified,
		"db.example.com/tokens?sslmode=require":                  pgstore.ChannelUnverified,
		"db.example.com/tokens?sslmode=prefer":                   pgstore.ChannelClear,
		"db.example.com/tokens":                                  pgstore.ChannelClear,
		"db.example.com/tokens?sslmode=disable":                  pgstore.ChannelClear,
		"127.0.0.1,localhost/tokens?sslmode=disable":             pgstore.ChannelLocal,
		"127.0.0.1,db.example.com/tokens?sslmode=disable":        pgstore.ChannelClear,
		"/tokens?host=/var/run/postgresql&sslmode=verify-full":   pgstore.ChannelLocal,
		"a.example.com,b.example.com/tokens?sslmode=verify-full": pgstore.ChannelVerified,
	} {
		got, err := pgstore.ChannelOf(secret.New("postgres://" + query))
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", query, got, err, want)
		}
	}
}
