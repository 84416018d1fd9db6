package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore"
)

// durable is what a database can be asked about its commits.
type durable interface {
	Prepared(ctx context.Context) (pgstore.Preparation, error)
	Durability(ctx context.Context) (pgstore.Durability, error)
	Origin(ctx context.Context) (storage.Origin, error)
	Channel() (pgstore.Channel, error)
}

// replication says what a commit of the store's database survives; nothing for a
// store in a directory.
func replication(ctx context.Context, place *storage.Config) []Finding {
	if place.Database == nil {
		return nil
	}
	const check = "database"
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	db, err := place.Database.Open(ctx, true)
	if err != nil {
		return []Finding{{check, Bad, err.Error(), "do what the line says: without its database a broker serves what it has in memory for a while, and spends nothing"}}
	}
	defer func() { _ = db.Close() }() // only read from
	ask, ok := db.(durable)
	if !ok {
		return nil
	}
	p, err := ask.Prepared(ctx)
	if err != nil {
		return []Finding{{check, Bad, err.Error(), "do what the line says"}}
	}
	d, err := ask.Durability(ctx)
	if err != nil {
		return []Finding{{check, Bad, err.Error(), "let the broker's role connect and read; the manual of the store on PostgreSQL lists its rights"}}
	}
	found := []Finding{prepared(&p), localDurability(&d), standbys(&d)}
	if c, err := ask.Channel(); err == nil { // it connected by that string
		found = append(found, channel(c))
	}
	switch o, err := ask.Origin(ctx); {
	case err != nil:
		found = append(found, Finding{"fail-over", Bad, err.Error(), "name the server that takes writes, or all servers of the cluster, in store.postgres"})
	case o == (storage.Origin{}):
		found = append(found, Finding{"fail-over", Look, "the database does not tell its timeline",
			"let the broker's role execute pg_control_system() and pg_walfile_name(pg_lsn): without them nobody notices a fail-over that lost commits"})
	default:
		found = append(found, good("fail-over", fmt.Sprintf("noticed by the timeline, which is %d", o.Timeline)))
	}
	return found
}

// prepared is about the schema and the role's rights: a broker that lacks one of
// them may start nevertheless, and fail when it first needs it.
func prepared(p *pgstore.Preparation) Finding {
	const check = "database schema"
	missing := strings.Join(p.Pending, ", ")
	switch {
	case missing != "" && p.ByHand:
		return Finding{check, Bad, "it lacks " + missing + ", and store.postgres.migrate is by_hand", "have the owner of the tables apply what `holdfast store migrate --print` prints: until then no broker starts"}
	case missing != "" && len(p.Rights) > 0:
		return Finding{check, Bad, "it lacks " + missing + ", and the broker's role lacks " + strings.Join(p.Rights, ", ") + " to apply it at its start",
			"have the owner of the database run `holdfast store migrate`, or grant the right: until then no broker starts"}
	case missing != "":
		return good(check, "the next start of a broker applies "+missing)
	case len(p.Rights) > 0:
		return Finding{check, Bad, "the broker's role lacks " + strings.Join(p.Rights, ", "), "have the owner of the tables grant what storage/pgstore/README.md lists under The role"}
	}
	return good(check, "up to date, and the role has the rights that a broker needs")
}

// localDurability is about what one server's disk keeps.
func localDurability(d *pgstore.Durability) Finding {
	const check = "database sync"
	switch {
	case !d.Fsync:
		return Finding{check, Bad, "fsync is off: a power failure may lose and damage anything", "set fsync = on in postgresql.conf; if the server has ever lost power without it, restore a backup"}
	case !d.FullPageWrites:
		return Finding{check, Bad, "full_page_writes is off: a power failure may tear pages", "set full_page_writes = on, unless the server's file system never tears a page of 8 KiB (ZFS)"}
	case d.SynchronousCommit == "off":
		return Finding{check, Bad, "synchronous_commit is off although Holdfast sets it for its sessions", "let nothing between broker and server change its settings"}
	}
	return good(check, "fsync and full_page_writes are on, synchronous_commit is "+d.SynchronousCommit)
}

// standbys is about what a fail-over keeps. That no standby is there at all is
// another thing than one that may lag behind: only the latter can be promoted.
func standbys(d *pgstore.Durability) Finding {
	const check = "replication"
	const do = "name it in synchronous_standby_names; only then a fail-over loses no refresh token. Patroni: synchronous_mode: on"
	waits := d.SynchronousStandbys != "" && d.SynchronousCommit != "off" && d.SynchronousCommit != "local"
	switch {
	case waits && d.Standbys == 0:
		return Finding{check, Bad, fmt.Sprintf("commits wait for a standby (%s), and none is connected", d.SynchronousStandbys), "start a standby: until then nothing can be stored"}
	case waits:
		return good(check, fmt.Sprintf("commits wait for a standby: %s", d.SynchronousStandbys))
	case d.Standbys > 0:
		return Finding{check, Look, fmt.Sprintf("asynchronous: of the %d standbys that are connected none must have a commit before it is acknowledged; "+
			"promoting one may lose commits, and then their grants are quarantined, or all", d.Standbys), do}
	}
	return Finding{check, Look, "there is no standby: with the server's disk every refresh token is lost, but for a backup, whose grants start quarantined",
		"give the database a standby, and " + do}
}

// channel is about who else can be on the way to the database. Tokens are sealed
// before they go there; addresses of grants and the answers' truth are not.
func channel(c pgstore.Channel) Finding {
	const check = "database TLS"
	switch c {
	case pgstore.ChannelLocal:
		return good(check, "the way to the database does not leave the machine")
	case pgstore.ChannelVerified:
		return good(check, "the way to the database is encrypted, and its certificate is verified")
	case pgstore.ChannelUnverified:
		return Finding{check, Look, "the way to the database is encrypted, but anybody on it may pose as the database", "use sslmode=verify-full with sslrootcert in the connection string"}
	default:
		return Finding{check, Look, "the way to the database is not encrypted, or only if nobody on it objects: whoever is there sees who has grants, and can change answers",
			"use sslmode=verify-full with sslrootcert in the connection string"}
	}
}
