package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	"github.com/holdfast-io/holdfast/storage"
)

// moving is what store copy was asked for.
type moving struct {
	from, to  string
	dry, undo bool
	yes       bool
}

func newStoreCopy(io streams) *cobra.Command {
	var m moving
	cmd := &cobra.Command{
		Use:   "copy --from OLDFILE --to NEWFILE",
		Short: "Move the store of a stopped broker to another place, such as from Badger to PostgreSQL",
		Long: `Move the store of a stopped broker to another place: from the embedded store to
PostgreSQL, back, or to another disk or database. OLDFILE is the broker's
configuration as it is, NEWFILE a copy of it with another store section, such as

  store: {kind: postgres, dir: /var/lib/holdfast/local, postgres: {dsn_file: /etc/holdfast/dsn}}

The keys section stays the same: records and journals go over as they are sealed,
with what waits in the spill file, and the store keeps its id, so that grants,
audit keys and fingerprints stay what they are. The audit files are not touched.

Before the first record is copied, OLDFILE's store is marked so that it never opens
again: two stores that both spend the same refresh tokens end their families. The
new one opens once every record was compared. If the copy is interrupted, run the
same command again: it goes on. To stay with OLDFILE after all, add --undo, which
works until a broker has been started with NEWFILE. The old files are not deleted;
delete them, and their backups in time, once the new store has served.

Several replicas on one database: stop all of them first, in order, so that what
waits in the spill file of each is stored ("not stored yet" of holdfast status shows
none); only the spill file in OLDFILE's store.dir goes over.

First it says what it would do; it does that with --yes, or after a "yes" at a
terminal. --dry-run reads the source, looks at the target and changes nothing.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return m.run(cmd.Context(), io) },
	}
	cmd.Flags().StringVar(&m.from, "from", "", "the configuration file of the broker as it is")
	cmd.Flags().StringVar(&m.to, "to", "", "the configuration file with the new store section")
	cmd.Flags().BoolVar(&m.dry, "dry-run", false, "only look at both sides")
	cmd.Flags().BoolVar(&m.undo, "undo", false, "give the store of OLDFILE back")
	cmd.Flags().BoolVar(&m.yes, "yes", false, "do it without asking")
	_, _ = cmd.MarkFlagRequired("from"), cmd.MarkFlagRequired("to") // both are there
	cmd.MarkFlagsMutuallyExclusive("dry-run", "undo")
	return cmd
}

func (m *moving) run(ctx context.Context, io streams) error {
	node.BoundMemory()
	from, err := m.place(io, m.from)
	if err != nil {
		return err
	}
	to, err := m.place(io, m.to)
	if err != nil {
		return err
	}
	if m.undo {
		return m.takeBack(ctx, io, from, to)
	}
	plan, err := storage.Copy(ctx, from, to, storage.CopyOptions{DryRun: true})
	if err != nil {
		return node.Input(err)
	}
	if plan.Complete {
		_, err := fmt.Fprintf(io.out, "%s: store %s has been moved here already, from %s\n", plan.To, plan.StoreID, plan.From)
		return err
	}
	m.announce(io, &plan)
	if m.dry {
		return nil
	}
	if err := confirm(io, m.yes); err != nil {
		return err
	}
	bars := &copyBars{io: io}
	sum, err := storage.Copy(ctx, from, to, storage.CopyOptions{Progress: bars.show})
	bars.end()
	if err != nil {
		return node.Input(err)
	}
	_, err = fmt.Fprintf(io.out, "%s: store %s, %d records, %d journal entries, checksum %s on both sides\n",
		sum.To, sum.StoreID, sum.Records, sum.Entries, sum.Checksum)
	if err == nil && sum.Finding != "" {
		_, err = fmt.Fprintf(io.err, "its grants start quarantined: %s; decide with holdfast grants adopt or holdfast grants scrub\n", sum.Finding)
	}
	if err == nil {
		_, err = fmt.Fprintf(io.err, "next: start the broker with %s, and delete %s once it has served\n", m.to, sum.From)
	}
	return err
}

func (m *moving) place(io streams, file string) (storage.Config, error) {
	c, err := loadConfig(io, file, config.LoadStore)
	if err != nil {
		return storage.Config{}, err
	}
	return storeOf(c, io)
}

// announce says what would be done. What can not be written is lost: confirm asks either way.
func (m *moving) announce(io streams, plan *storage.CopySummary) {
	verb := "this copies"
	if plan.Resumed {
		verb = "this goes on copying"
	}
	_, _ = fmt.Fprintf(io.err, "%s store %s, %d records and %d journal entries, from %s to %s\n",
		verb, plan.StoreID, plan.Records, plan.Entries, plan.From, plan.To)
	if plan.Spilled > 0 {
		_, _ = fmt.Fprintf(io.err, "%d settlements in the spill file go with it\n", plan.Spilled)
	}
	_, _ = fmt.Fprintf(io.err, "from the beginning of the copy on, the store in %s never opens again, unless --undo gives it back\n", plan.From)
}

func (m *moving) takeBack(ctx context.Context, io streams, from, to storage.Config) error {
	_, _ = fmt.Fprintf(io.err, "this lets the store of %s be used again, and that of %s never, if no broker has been started with it\n", m.from, m.to)
	if err := confirm(io, m.yes); err != nil {
		return err
	}
	sum, err := storage.UndoCopy(ctx, from, to)
	if err != nil {
		return node.Input(err)
	}
	if _, err = fmt.Fprintf(io.out, "%s: store %s is in use here again\n", sum.From, sum.StoreID); err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.err, "next: start the broker with %s, and empty %s before it is the target of a copy again\n", m.from, sum.To)
	return err
}

// copyBars draws a bar for each step of a copy.
type copyBars struct {
	io   streams
	step storage.CopyStep
	bar  *render.Bar
}

func (b *copyBars) show(step storage.CopyStep, done, total int) {
	if step != b.step {
		b.end()
		b.step, b.bar = step, render.NewBar(b.io.err, isTerminal(b.io.err))
		_, _ = fmt.Fprintf(b.io.err, "%s\n", step) // progress
	}
	if step != storage.CopyReading { // how much there is to read is not known before
		b.bar.Show(uint64(done), uint64(total))
	}
}

func (b *copyBars) end() {
	if b.bar != nil {
		b.bar.End()
	}
}
