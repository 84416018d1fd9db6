package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newStatus(io streams) *cobra.Command {
	c := newCall(io)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the broker fares; exit code 4 if it is not ready",
		Args:  none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd.Context(), c.status)
		},
	}
	return c.bind(cmd)
}

func (c *call) status(ctx context.Context, conn grpc.ClientConnInterface) error {
	s, err := holdfastv1.NewAdminServiceClient(conn).GetStatus(ctx, &holdfastv1.GetStatusRequest{})
	if err != nil {
		return err
	}
	if err := c.show(s, func() error { return c.showStatus(s) }); err != nil {
		return err
	}
	if !s.GetReady() {
		return exitError{client.ExitUnavailable, "the broker is not ready"}
	}
	return nil
}

func (c *call) showStatus(s *holdfastv1.GetStatusResponse) error {
	ready := "yes"
	if !s.GetReady() {
		ready = "no"
	}
	facts := []render.Fact{{Name: "ready", Value: ready}}
	for _, reason := range s.GetNotReadyReasons() {
		facts = append(facts, render.Fact{Name: "because", Value: reason})
	}
	facts = append(facts,
		render.Fact{Name: "version", Value: s.GetVersion()},
		render.Fact{Name: "environment", Value: s.GetEnvironment()},
		render.Fact{Name: "provider", Value: s.GetProvider()},
		render.Fact{Name: "store", Value: s.GetStoreId()},
		render.Fact{Name: "started", Value: render.Time(s.GetStartedAt())},
	)
	if d := s.GetClockAhead(); d != nil {
		facts = append(facts, render.Fact{Name: "clock", Value: clockWords(d.AsDuration())})
	}
	if found := s.GetStoreFinding(); found != "" {
		facts = append(facts, render.Fact{Name: "store finding", Value: found + "  (decide with holdfast grants adopt or holdfast grants scrub)"})
	}
	facts = append(facts, rotationFacts(s.GetKeyRotation())...)
	for _, warning := range s.GetWarnings() {
		facts = append(facts, render.Fact{Name: "look at", Value: warning})
	}
	if text := countedWords(s); text != "" {
		facts = append(facts, render.Fact{Name: "counted", Value: text})
	}
	for _, p := range s.GetPhaseCounts() {
		facts = append(facts, render.Fact{Name: render.Enum(p.GetPhase(), "GRANT_PHASE_"), Value: fmt.Sprint(p.GetCount())})
	}
	if n := s.GetOpenSettlements(); n > 0 {
		facts = append(facts, render.Fact{Name: "not stored yet", Value: fmt.Sprintf("%d new tokens  (kept in the spill file; the log says for which grants, and why)", n)})
	}
	for _, id := range s.GetDamagedGrantIds() {
		facts = append(facts, render.Fact{Name: "damaged", Value: id + "  (holdfast grants show " + id + " says how)"})
	}
	if err := render.Facts(c.io.out, facts); err != nil {
		return err
	}
	rows := make([][]string, len(s.GetApps()))
	for i, a := range s.GetApps() {
		rows[i] = []string{a.GetId(), strings.Join(a.GetProducts(), ", "), appState(a)}
	}
	if _, err := fmt.Fprintln(c.io.out); err != nil {
		return err
	}
	return render.Table(c.io.out, []string{"APP", "PRODUCTS", "STATE"}, rows)
}

// countedFresh is how old a counting may be without being spoken of.
const countedFresh = 2 * time.Second

// countedWords says how old the numbers of grants are, which the broker could not
// count just now; "": they are of now, or there are none.
func countedWords(s *holdfastv1.GetStatusResponse) string {
	age := s.GetServerTime().AsTime().Sub(s.GetPhasesCountedAt().AsTime())
	if s.GetPhasesCountedAt() == nil || age < countedFresh {
		return ""
	}
	return fmt.Sprintf("%s, %v ago: what follows may have changed since", render.Time(s.GetPhasesCountedAt()), age.Round(time.Second))
}

// clockWords says how the broker's clock stands to the provider's, ahead by d.
func clockWords(d time.Duration) string {
	switch {
	case d > 0:
		return fmt.Sprintf("%v ahead of the provider's", d.Round(time.Second))
	case d < 0:
		return fmt.Sprintf("%v behind the provider's", -d.Round(time.Second))
	}
	return "agrees with the provider's"
}
