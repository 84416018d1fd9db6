// Package doctor looks at everything that a broker needs from its
// surroundings, before or beside a running one: it changes nothing, spends no
// token, and says for each thing that is wrong what to do about it.
package doctor

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
)

// State of one thing that was looked at.
type State string

// The states.
const (
	// Good: nothing to do.
	Good State = "ok"
	// Look: it works, or could not be found out; somebody should look at it.
	Look State = "look"
	// Bad: it will fail, or tokens are in danger.
	Bad State = "BAD"
)

// Finding is one line of the table.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Found string `json:"found"`
	// Do says what to do about it; empty if it is Good.
	Do string `json:"do,omitempty"`
}

func good(check, found string) Finding { return Finding{check, Good, found, ""} }

// bound of each look at the network: somebody waits in front of a terminal.
const bound = 15 * time.Second

// Examine looks at everything that c names, in a fixed order, and tells each
// finding as soon as it is known. It blocks for at most some bounded calls to
// the provider.
func Examine(ctx context.Context, c *config.Config, log *slog.Logger, tell func(Finding)) {
	p, err := node.NewProvider(&c.Provider)
	if err != nil {
		tell(Finding{"provider", Bad, err.Error(), "correct the configuration's provider section"})
	} else {
		defer p.Close()
		tell(providerClock(ctx, p, c.Provider.ClockMargin))
		for i := range c.Apps {
			for _, f := range clientSecrets(ctx, p, &c.Apps[i]) {
				tell(f)
			}
		}
		for i := range c.Apps {
			for _, f := range consents(ctx, p, c, &c.Apps[i]) {
				tell(f)
			}
		}
	}
	tell(publicURL(ctx, c))
	for _, f := range stored(ctx, c, log) {
		tell(f)
	}
	if place, err := node.StoreConfig(c, log); err == nil { // what is wrong with it is told already
		for _, f := range replication(ctx, &place) {
			tell(f)
		}
	}
	for _, f := range certificates(c, time.Now()) {
		tell(f)
	}
}
