package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/holdfast-io/holdfast/cmd/bench/hostile"
)

// attackCommand begins an attack.
type attackCommand struct {
	Name     string
	HalfOpen int
	Target   loadTarget
}

// hostileProcess attacks. Its priority is the lowest: attackers have machines of
// their own, and what is measured is what they do to the server.
type hostileProcess struct {
	stop func()
}

func (p *hostileProcess) handle(q command) (reply, error) {
	switch {
	case q.Attack != nil:
		return reply{}, p.begin(*q.Attack)
	case q.EndAttack:
		return reply{}, p.close()
	}
	return reply{}, errors.New("attackers do not know this command")
}

func (p *hostileProcess) begin(c attackCommand) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
		return fmt.Errorf("lowering the priority: %w", err)
	}
	t, err := hostileTarget(c.Target)
	if err != nil {
		return err
	}
	for _, a := range hostile.Attacks(c.HalfOpen) {
		if a.Name != c.Name {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		left := make(chan struct{})
		go func() {
			defer close(left)
			a.Run(ctx, t)
		}()
		p.stop = func() { cancel(); <-left }
		return nil
	}
	return fmt.Errorf("no attack %q", c.Name)
}

func (p *hostileProcess) close() error {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	return nil
}
