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
	if _, err := pgstore.Describe(secret.New("postgres://holdfast:hunter2@a:b:c/%zz")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
