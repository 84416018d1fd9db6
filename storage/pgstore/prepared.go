package pgstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/storage"
)

// Preparation is what a database lacks before a broker can use it.
type Preparation struct {
	// Pending migrations, by the names of their files.
	Pending []string
	// ByHand: a start does not apply them.
	ByHand bool
	// Rights that the role lacks, such as "DELETE on holdfast_journal"; while
	// something is pending, those that the first migration needs.
	Rights []string
}

// rights that a broker needs: those that README.md lists. Some of them are used
// for the first time when a broker has served for weeks.
const lackingRights = `
SELECT privilege || ' on ' || relation FROM (VALUES
	(1, 'holdfast_record', 'SELECT'), (2, 'holdfast_record', 'INSERT'), (3, 'holdfast_record', 'UPDATE'), (4, 'holdfast_record', 'DELETE'),
	(5, 'holdfast_journal', 'SELECT'), (6, 'holdfast_journal', 'INSERT'), (7, 'holdfast_journal', 'UPDATE'), (8, 'holdfast_journal', 'DELETE'),
	(9, 'holdfast_store', 'SELECT'), (10, 'holdfast_store', 'UPDATE'), (11, 'holdfast_schema', 'SELECT'), (12, 'holdfast_migration', 'SELECT')
) AS needed (place, relation, privilege) WHERE NOT has_table_privilege(relation, privilege)
UNION ALL SELECT 'USAGE on holdfast_commit' WHERE NOT has_sequence_privilege('holdfast_commit', 'USAGE')`

// lackingToMake is what the role lacks that makes the tables. Whether it owns those
// that a later migration changes only the migration finds out.
const lackingToMake = `
SELECT 'CREATE on schema ' || coalesce(current_schema(), 'public')
WHERE current_schema() IS NULL OR NOT has_schema_privilege(current_schema(), 'CREATE')`

// Prepared finds out what the database lacks. It changes nothing.
func (s *Store) Prepared(ctx context.Context) (p Preparation, err error) {
	p.ByHand = s.opts.MigrateByHand
	pending, err := s.pending(ctx)
	for _, m := range pending {
		p.Pending = append(p.Pending, m.Name)
	}
	question := lackingRights
	if len(pending) > 0 {
		question = lackingToMake
	}
	if err != nil || len(pending) > 0 && (p.ByHand || pending[0].Version != 1) {
		return p, err
	}
	err = s.reading(ctx, "asking for the role's rights", func(ctx context.Context, c *pgxpool.Conn) error {
		p.Rights = nil // it may be asked again
		rows, err := c.Query(ctx, question)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var right string
			if err := rows.Scan(&right); err != nil {
				return err
			}
			p.Rights = append(p.Rights, right)
		}
		return rows.Err()
	})
	return p, err
}

// Rehearse implements storage.Rehearser.
func (s *Store) Rehearse(ctx context.Context, taking bool) error {
	pending, err := s.pending(ctx)
	switch {
	case err != nil:
		return err
	case len(pending) > 0 && s.opts.MigrateByHand:
		return lacksByHand(pending)
	case !taking:
		return nil
	}
	p, err := s.Prepared(ctx)
	switch {
	case err != nil:
		return err
	case len(p.Rights) > 0 && len(pending) > 0:
		return fmt.Errorf("the database's schema lacks %s, and the role lacks %s to apply it: "+
			"have the owner of the database run holdfast store migrate, or grant the right; nothing was changed", named(pending), strings.Join(p.Rights, ", "))
	case len(p.Rights) > 0:
		return fmt.Errorf("the role lacks %s: the owner of the tables grants what the manual lists (storage/pgstore/README.md, The role); nothing was changed",
			strings.Join(p.Rights, ", "))
	}
	return nil
}

var _ storage.Rehearser = (*Store)(nil)
