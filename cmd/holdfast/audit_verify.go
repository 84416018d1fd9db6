package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
)

const verifyHelp = `Read audit files and say whether anything was changed, removed, moved, put in or cut
off since Holdfast wrote it, and where. No broker is asked. Give all files of one
record, the rotated ones too, in any order.

The files alone show what was changed by somebody who did not compute the hashes
after it anew. With --key, as "holdfast audit key" prints it, the signed checkpoints
in the files are checked, and what is before the newest of them can not have been
made anew. With --checkpoint, a checkpoint that was kept elsewhere (audit.checkpoint_file,
or audit_checkpoint of "holdfast status"), an end that was cut off is found as well.

Old files that Holdfast removed, as audit.keep and audit.keep_for tell it to, are told
of by a later line. If others are missing at the beginning, that is found; --part says
that they were left out on purpose.

Exit codes: 0 nothing is wrong; 1 something is; 2 a file or key is none.`

// verifyFlags are the flags of audit verify.
type verifyFlags struct {
	key, keyFile string
	checkpoints  []string
	part         bool
}

func newAuditVerify(io streams) *cobra.Command {
	f := verifyFlags{}
	cmd := &cobra.Command{
		Use:     "verify FILE...",
		Short:   "Say whether an audit record is whole",
		Long:    verifyHelp,
		Example: "  holdfast audit verify audit.jsonl* --key-file audit.key --checkpoint kept.checkpoint",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("want the audit files")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error { return f.verify(cmd, io, files) },
	}
	cmd.Flags().StringVar(&f.key, "key", "", "key of the checkpoints, as \"holdfast audit key\" prints it")
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "file that holds the key")
	cmd.Flags().StringArrayVar(&f.checkpoints, "checkpoint", nil, "file with a checkpoint that was kept elsewhere; may be repeated")
	cmd.Flags().BoolVar(&f.part, "part", false, "the files are a part of the record: older ones are missing on purpose")
	cmd.MarkFlagsMutuallyExclusive("key", "key-file")
	return cmd
}

func (f *verifyFlags) verify(cmd *cobra.Command, io streams, files []string) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	o.Progress = progress(io, files)
	r, err := audit.Verify(cmd.Context(), files, o)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	for _, note := range r.Notes {
		if _, err := fmt.Fprintf(io.out, "note: %s\n", note); err != nil {
			return err
		}
	}
	for _, finding := range r.Findings {
		if _, err := fmt.Fprintf(io.out, "%s: %s: %s\n", finding.Kind, finding.At, finding.Text); err != nil {
			return err
		}
	}
	if err := summary(io, r, o); err != nil {
		return err
	}
	if len(r.Findings) > 0 {
		return exitError{client.ExitInternal, fmt.Sprintf("the audit record is not what was written: %d finding(s); keep the files as they are, and look at who could write them", len(r.Findings))}
	}
	return nil
}

// summary says what was checked, and what was not.
func summary(io streams, r *audit.Report, o audit.VerifyOptions) error {
	signed := fmt.Sprintf("%d checkpoints, signatures not checked: give --key-file or --key", r.Checkpoints)
	if o.Key != "" {
		signed = fmt.Sprintf("%d signed checkpoints, %d lines after the newest", r.Checkpoints, r.Unsigned)
	}
	kept := "no checkpoint was given: an end that was cut off is not found"
	if len(o.Kept) > 0 {
		kept = fmt.Sprintf("%d kept checkpoint(s) compared", len(o.Kept))
	}
	_, err := fmt.Fprintf(io.out, "%d lines, number %d of %s to number %d of %s; %s; %s\n", r.Lines,
		r.First.Seq, r.First.Time.UTC().Format(time.RFC3339), r.Last.Seq, r.Last.Time.UTC().Format(time.RFC3339), signed, kept)
	return err
}

func (f *verifyFlags) options() (audit.VerifyOptions, error) {
	o := audit.VerifyOptions{Key: f.key, Part: f.part}
	if f.keyFile != "" {
		text, err := os.ReadFile(f.keyFile)
		if err != nil {
			return o, usageError{err}
		}
		o.Key = string(text)
	}
	if err := audit.CheckKey(o.Key); err != nil {
		return o, usageError{err}
	}
	for _, name := range f.checkpoints {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return o, usagef("there is no checkpoint %s: the broker writes the newest one to audit.checkpoint_file a minute after its first record (audit.checkpoint_every), and at its end", name)
		}
		if err != nil {
			return o, usageError{err}
		}
		c, err := audit.ParseCheckpoint(text, o.Key)
		if err != nil {
			return o, usagef("%s: %w", name, err)
		}
		o.Kept = append(o.Kept, c)
	}
	return o, nil
}

// progress tells a person at a terminal about once a second how far it is.
func progress(io streams, files []string) func(done int64) {
	if !isTerminal(io.err) {
		return nil
	}
	var total int64
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			total += info.Size()
		}
	}
	var last time.Time
	return func(done int64) {
		if now := time.Now(); now.Sub(last) >= time.Second && total > 0 {
			last = now
			_, _ = fmt.Fprintf(io.err, "\r%d%% of %d MiB", done*100/total, total>>20) // progress
			if done == total {
				_, _ = fmt.Fprintln(io.err)
			}
		}
	}
}
