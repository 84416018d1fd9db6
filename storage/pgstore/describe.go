package pgstore

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-io/holdfast/secret"
)

// Describe names the database of a connection string for people, without user
// and password. Its error says nothing of the string.
func Describe(dsn secret.String) (string, error) {
	c, err := pgconn.ParseConfig(dsn.Reveal())
	if err != nil {
		return "", unparsed(err)
	}
	if strings.Contains(c.Database, "@") { // a password with a / in it, whose end would be shown as the database
		return "", errForm
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

var errForm = errors.New("the connection string is none of PostgreSQL's: want postgres://USER:PASSWORD@HOST:PORT/DATABASE, " +
	"or host=HOST user=USER dbname=DATABASE password=PASSWORD; in the former other characters of a password than letters, digits and -._~ are written as %XX")

// unparsed is why a connection string does not parse. The driver's own text could
// quote the password, so that only what is known to be harmless is taken of it.
func unparsed(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("the connection string names a file that can not be read: %w", p)
	}
	if strings.Contains(err.Error(), "sslmode is invalid") {
		return errors.New("the connection string's sslmode is unknown: want disable, allow, prefer, require, verify-ca or verify-full (recommended)")
	}
	return errForm
}

// Channel is how the way to a database is protected.
type Channel int

const (
	// ChannelClear: somebody on the way can read and change what passes, at one of
	// the servers at least, or whenever TLS is refused.
	ChannelClear Channel = iota
	// ChannelUnverified: it is encrypted, and anybody may pose as the server.
	ChannelUnverified
	// ChannelVerified: it is encrypted, and the server's certificate is checked.
	ChannelVerified
	// ChannelLocal: it does not leave the machine.
	ChannelLocal
)

// Channel is how the way of the store's connection string is protected. It asks nobody.
func (s *Store) Channel() (Channel, error) { return ChannelOf(s.opts.DSN) }

// ChannelOf is how a connection string has the way to the least protected of its
// servers protected. Its error says nothing of the string.
func ChannelOf(dsn secret.String) (Channel, error) {
	c, err := pgconn.ParseConfig(dsn.Reveal())
	if err != nil {
		return ChannelClear, unparsed(err)
	}
	least := toward(&pgconn.FallbackConfig{Host: c.Host, TLSConfig: c.TLSConfig})
	for _, f := range c.Fallbacks {
		least = min(least, toward(f))
	}
	return least, nil
}

func toward(server *pgconn.FallbackConfig) Channel {
	host, t := server.Host, server.TLSConfig
	ip := net.ParseIP(host)
	switch {
	case strings.HasPrefix(host, "/"), strings.HasPrefix(host, "@"), host == "localhost", ip != nil && ip.IsLoopback():
		return ChannelLocal
	case t == nil:
		return ChannelClear
	case t.InsecureSkipVerify && t.VerifyPeerCertificate == nil: // sslmode=verify-ca brings a check of its own
		return ChannelUnverified
	}
	return ChannelVerified
}
