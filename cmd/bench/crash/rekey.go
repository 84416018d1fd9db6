package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// rekey has the data keys rotated once, or meets the rotation that runs. It is
// never done: the broker is to die of it.
func (l *leg) rekey(ctx context.Context) (again bool) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	_, _ = l.admin.RotateKeys(ctx, &holdfastv1.RotateKeysRequest{}, waitForBroker) // the broker may die of it
	return true
}

// judgeKeys lets a rotation of the data keys that a kill broke off come to its end,
// makes one more, and looks at every record in a life that never held the old keys.
// It ends the life p.
func (l *leg) judgeKeys(ctx context.Context, p *process, r *Result) error {
	problem := func(format string, args ...any) {
		r.Unread++
		r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
	}
	if err := l.rotateKeys(ctx); err != nil {
		problem("the rotation of the data keys: %v", err)
	}
	if err := p.stop(); err != nil {
		return fmt.Errorf("stopping the broker after the last kill: %w", err)
	}
	p, err := l.live(ctx, l.binaries.Released)
	if err != nil {
		return err
	}
	end := time.Now().Add(l.recovery)
	for _, g := range l.grants {
		if err := l.read(ctx, g); err != nil {
			problem("%s can not be read after the data keys were rotated: %v", g, err)
		} else if err := l.recovered(ctx, g, end); err != nil {
			problem("%s does not rotate after the data keys were: %v", g, err)
		}
	}
	if err := p.stop(); err != nil {
		return fmt.Errorf("stopping the broker after its data keys were rotated: %w", err)
	}
	log, err := os.ReadFile(l.path("serve.log"))
	r.TakenUp = bytes.Count(log, []byte("going on with a rotation of the data keys"))
	return err
}

// rotateKeys waits for the end of a rotation that runs, begins another one, and
// waits for the end of that.
func (l *leg) rotateKeys(ctx context.Context) error {
	before, err := l.keysRotated(ctx)
	if err != nil {
		return err
	}
	ctx1, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	begun, err := l.admin.RotateKeys(ctx1, &holdfastv1.RotateKeysRequest{}, waitForBroker)
	if err != nil {
		return err
	}
	if !begun.GetRotation().GetStartedAt().AsTime().After(before.GetStartedAt().AsTime()) {
		return fmt.Errorf("it did not begin, though that of %v had ended", before.GetStartedAt().AsTime())
	}
	after, err := l.keysRotated(ctx)
	if err == nil && (after.GetResealed() != after.GetTotal() || after.GetTotal() < uint64(len(l.grants))) {
		err = fmt.Errorf("%d of %d records are sealed anew at its end", after.GetResealed(), after.GetTotal())
	}
	return err
}

// keysRotated waits until no rotation of the data keys runs, and returns the newest.
func (l *leg) keysRotated(ctx context.Context) (*holdfastv1.KeyRotation, error) {
	ctx, cancel := context.WithTimeout(ctx, lifePatience)
	defer cancel()
	for {
		answer, err := l.admin.GetStatus(ctx, &holdfastv1.GetStatusRequest{}, waitForBroker)
		if err != nil {
			return nil, err
		}
		r := answer.GetKeyRotation()
		if r == nil || r.GetEndedAt() != nil {
			return r, nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return r, fmt.Errorf("it does not end within %v; %d of %d records are sealed anew: %s", lifePatience, r.GetResealed(), r.GetTotal(), r.GetStuck())
		}
	}
}

// read reads a grant's record and its journal.
func (l *leg) read(ctx context.Context, g *grant) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	answer, err := l.admin.GetGrant(ctx, &holdfastv1.GetGrantRequest{Grant: g.selector()}, waitForBroker)
	if err == nil && len(answer.GetEvents()) == 0 {
		err = errors.New("its journal is empty")
	}
	return err
}
