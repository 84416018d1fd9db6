package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// rotationLook is how often the broker is asked how far it is.
const rotationLook = 500 * time.Millisecond

func newKeysRotate(io streams) *cobra.Command {
	c := newCall(io)
	wait := true
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Rotate the data keys of a running broker",
		Long: `Make a new data key, which seals from now on, and have all records sealed anew by
it while the broker works on. The old keys are removed once nothing is under them.
It goes on in the broker by itself, over restarts; this verb only watches, and may
be stopped. A rotation that runs already is watched, none is begun beside it.

A backup that was made before holds the keys of its time: whoever has it and its
key-encryption key can read it still. To rotate the key-encryption key see
"holdfast keys rewrap".`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				admin := holdfastv1.NewAdminServiceClient(conn)
				answer, err := admin.RotateKeys(ctx, &holdfastv1.RotateKeysRequest{})
				if err != nil {
					return err
				}
				r := answer.GetRotation()
				if wait {
					if r, err = c.watchRotation(ctx, admin, r); err != nil {
						return err
					}
				}
				return c.show(&holdfastv1.RotateKeysResponse{Rotation: r}, func() error {
					return render.Facts(c.io.out, rotationFacts(r))
				})
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", true, "watch until it has ended")
	return c.bind(cmd)
}

// watchRotation draws how far the rotation is until it has ended, or something
// must be done about it.
func (c *call) watchRotation(ctx context.Context, admin holdfastv1.AdminServiceClient, r *holdfastv1.KeyRotation) (*holdfastv1.KeyRotation, error) {
	bar := render.NewBar(c.io.err, isTerminal(c.io.err))
	defer bar.End()
	for {
		bar.Show(r.GetResealed(), r.GetTotal())
		switch {
		case r.GetEndedAt() != nil:
			return r, nil
		case r.GetStuck() != "":
			return r, exitError{client.ExitUnavailable, "the rotation does not end yet: " + r.GetStuck() + "; it goes on by itself, holdfast status shows it"}
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("the rotation goes on in the broker; holdfast status shows it: %w", ctx.Err())
		case <-time.After(rotationLook):
		}
		status, err := admin.GetStatus(ctx, &holdfastv1.GetStatusRequest{})
		if err != nil {
			return r, err
		}
		r = status.GetKeyRotation()
	}
}

// rotationFacts says how a rotation stands; nothing if there was none.
func rotationFacts(r *holdfastv1.KeyRotation) []render.Fact {
	if r == nil {
		return nil
	}
	facts := []render.Fact{{Name: "key rotation", Value: "begun " + render.Time(r.GetStartedAt())}}
	switch {
	case r.GetEndedAt() != nil:
		facts[0].Value += ", ended " + render.Time(r.GetEndedAt())
	case r.GetTotal() > 0:
		facts[0].Value += fmt.Sprintf(", %d of %d records are under the new key", r.GetResealed(), r.GetTotal())
	default:
		facts[0].Value += ", counting records"
	}
	if r.GetStuck() != "" {
		facts = append(facts, render.Fact{Name: "key rotation waits", Value: r.GetStuck()})
	}
	return facts
}
