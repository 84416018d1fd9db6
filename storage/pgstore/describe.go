package pgstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-io/holdfast/secret"
)

// Describe names the database of a connection string for people, without user
// and password. Its error says nothing of the string.
func Describe(dsn secret.String) (string, error) {
	c, err := pgconn.ParseConfig(dsn.Reveal())
	if err != nil {
		return "", errors.New("the connection string is none of PostgreSQL's: want postgres://USER:PASSWORD@HOST:PORT/DATABASE, or host=HOST user=USER dbname=DATABASE password=PASSWORD")
	}
	var at []string
	seen := map[string]bool{}
	add := func(host string, port uint16) {
		text := fmt.Sprintf("%s:%d", host, port)
		if !seen[text] { // a host is tried with TLS and without, perhaps
			seen[text] = true
			at = append(at, text)
		}
	}
	add(c.Host, c.Port)
	for _, f := range c.Fallbacks {
		add(f.Host, f.Port)
	}
	return fmt.Sprintf("database %s at %s", c.Database, strings.Join(at, ", ")), nil
}
