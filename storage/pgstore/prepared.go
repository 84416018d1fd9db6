package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Preparation is what a database lacks before a broker can use it.
type Preparation struct {
	// Pending migrations, by the names of their files.
	Pending []string
	// ByHand: a start does not apply them.
	ByHand bool
	// Rights that the role lacks, such as "DELETE on holdfast_journal". Looked at
	// only if nothing is pending.
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

// Prepared finds out what the database lacks. It changes nothing.
func (s *Store) Prepared(ctx context.Context) (p Preparation, err error) {
	p.ByHand = s.opts.MigrateByHand
	pending, err := s.pending(ctx)
	for _, m := range pending {
		p.Pending = append(p.Pending, m.Name)
	}
	if err != nil || len(pending) > 0 {
		return p, err
	}
	err = s.reading(ctx, "asking for the role's rights", func(ctx context.Context, c *pgxpool.Conn) error {
		p.Rights = nil // it may be asked again
		rows, err := c.Query(ctx, lackingRights)
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
