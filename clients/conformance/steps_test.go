package conformance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const (
	pollEvery = 400 * time.Millisecond
	// recordSlack is for the audit record, which rounds until when a token is alive
	// down to the second, and for the way from the suite to the runner.
	recordSlack = 1500 * time.Millisecond
	// ownSlack is for that way alone: when the scenario's own token expires is known exactly.
	ownSlack = 500 * time.Millisecond
)

// play takes one step.
func (w *world) play(ctx context.Context, s *step) error {
	switch {
	case s.At != nil:
		return w.until(ctx, *s.At)
	case s.Wait != nil:
		return pause(ctx, *s.Wait)
	case s.Token != nil:
		return w.token(ctx, s.Token)
	case s.Throughout != nil:
		return w.throughout(ctx, s.Throughout)
	case s.Eventually != nil:
		return w.eventually(ctx, s.Eventually)
	case s.HTTP != nil:
		return w.http(ctx, s.HTTP)
	case s.Meanwhile != nil:
		return w.meanwhile(ctx, s.Meanwhile)
	case s.Finish != nil:
		return w.finish(*s.Finish)
	case s.Close != nil:
		return w.close(ctx, s.Close)
	case s.Skew != nil:
		_, err := w.ask(ctx, map[string]any{"op": "clock", "skew_ms": s.Skew.Milliseconds()})
		return err
	case s.Asked != nil, s.Exchanged != nil, s.Arrived != nil, s.Connected != nil:
		return w.look(s)
	}
	return w.happen(ctx, s)
}

// happen does what comes from outside.
func (w *world) happen(ctx context.Context, s *step) error {
	switch {
	case s.Certificate != nil:
		return w.dev.identity(w.dir, *s.Certificate, 0)
	case s.Authority != nil:
		return w.dev.authority(w.dir, *s.Authority)
	case s.Network != nil:
		w.relay.set(*s.Network)
		return nil
	case s.Broker != nil:
		return w.broker(*s.Broker)
	case s.Operator != nil:
		if *s.Operator == "tries to refresh" {
			_, _ = w.dev.operate(ctx, "refresh", seedGrant) // the provider refuses, or is not there
			return nil
		}
		_, err := w.dev.operate(ctx, *s.Operator, seedGrant)
		return err
	case s.Provider != nil:
		method := s.Provider.Method
		if method == "" {
			method = http.MethodPost
		}
		return w.dev.control(method, s.Provider.Path, s.Provider.Body, nil)
	case s.API != nil:
		w.api.play(s.API, w)
		return nil
	case s.Other != nil:
		w.other.play(s.Other, w)
		return nil
	case s.Person != nil:
		return w.person(ctx, *s.Person)
	}
	return errors.New("a step of no kind")
}

func (w *world) broker(what string) error {
	switch what {
	case "stop":
		return w.dev.stop(syscall.SIGTERM)
	case "kill":
		return w.dev.stop(syscall.SIGKILL)
	case "start":
		err := w.dev.start()
		w.relay.target(w.dev.grpc)
		return err
	}
	return fmt.Errorf("broker: %q: want stop, kill or start", what)
}

// secondSite is the cloud id of a site of the simulated provider.
const secondSite = "11111111-aaaa-4bbb-8ccc-000000000002"

// person consents: by the link that the source's error carries, or by an
// operator's for one more site.
func (w *world) person(ctx context.Context, what string) error {
	switch what {
	case "consents":
	case "adds a site":
		link, err := w.dev.reauth(ctx, seedGrant)
		if err != nil {
			return err
		}
		return consent(ctx, link, secondSite)
	default:
		return fmt.Errorf("person: %q: want consents or adds a site", what)
	}
	a, err := w.runner.ask(ctx, map[string]any{"op": "token", "source": w.source, "count": 1})
	if err != nil {
		return err
	}
	if a.Error == nil || a.Error.Link == "" {
		return errors.New("the source gives no link to consent by")
	}
	return consent(ctx, a.Error.Link, "")
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until waits for a time of the scenario, and notes if that has passed.
func (w *world) until(ctx context.Context, at time.Duration) error {
	left := time.Until(w.began.Add(at))
	w.late = max(w.late, -left)
	return pause(ctx, max(0, left))
}

// token asks once and judges the answer.
func (w *world) token(ctx context.Context, t *tokenStep) error {
	sent := time.Now()
	a := w.refused
	if a == nil {
		var err error
		a, err = w.runner.ask(ctx, map[string]any{
			"op": "token", "source": w.source, "count": max(1, t.Count), "deadline_ms": t.Deadline.Milliseconds(),
		})
		if err != nil {
			return err
		}
	}
	w.note(a)
	if err := w.judge(t, a, sent, time.Now()); err != nil {
		return fmt.Errorf("%w; the answer: %s", err, told(a))
	}
	return nil
}

// told is an answer for people, who see no token.
func told(a *answer) string {
	switch {
	case a.Error != nil:
		text := fmt.Sprintf("%s (%s), after %.0f ms", a.Error.Reason, a.Error.Message, a.ElapsedMS)
		if a.Failed > 1 {
			text += fmt.Sprintf(", %d times", a.Failed)
		}
		return text
	case a.Token != nil:
		sum := sha256.Sum256([]byte(a.Token.AccessToken))
		return fmt.Sprintf("generation %d (%x), after %.0f ms", a.Token.Generation, sum[:3], a.ElapsedMS)
	}
	return "neither a token nor an error"
}

// note logs an answer, unless it is the same as the one before and came at once.
func (w *world) note(a *answer) {
	what := ""
	if a.ElapsedMS < 100 && a.Token != nil {
		what = fmt.Sprint(a.Token.Generation)
	}
	w.mu.Lock()
	same := what != "" && what == w.noted
	w.noted = what
	w.mu.Unlock()
	if !same {
		w.logf("token: %s", told(a))
	}
}

func (w *world) throughout(ctx context.Context, r *repeatedStep) error {
	end := w.end(r)
	for n := 0; n == 0 || time.Now().Before(end); n++ {
		if err := w.token(ctx, &r.Token); err != nil {
			return err
		}
		if err := pause(ctx, r.pace()); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) eventually(ctx context.Context, r *repeatedStep) error {
	end := w.end(r)
	for {
		err := w.token(ctx, &r.Token)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("that did not happen in time; at last: %w", err)
		}
		if err := pause(ctx, r.pace()); err != nil {
			return err
		}
	}
}

func (w *world) end(r *repeatedStep) time.Time {
	if r.To > 0 {
		return w.began.Add(r.To)
	}
	return time.Now().Add(r.For)
}

func (r *repeatedStep) pace() time.Duration {
	if r.Every > 0 {
		return r.Every
	}
	return pollEvery
}

func (w *world) meanwhile(ctx context.Context, m *meanwhileStep) error {
	if w.background[m.Name] != nil || (m.Token == nil) == (m.Throughout == nil) {
		return errors.New("meanwhile needs a name of its own, and a token or a throughout")
	}
	done := make(chan error, 1)
	w.background[m.Name] = done
	go func() {
		defer close(done)
		if m.Token != nil {
			done <- w.token(ctx, m.Token)
		} else {
			done <- w.throughout(ctx, m.Throughout)
		}
	}()
	return nil
}

func (w *world) finish(name string) error {
	done := w.background[name]
	if done == nil {
		return fmt.Errorf("nothing called %q was begun", name)
	}
	if err := <-done; err != nil {
		return fmt.Errorf("meanwhile, %s: %w", name, err)
	}
	return nil
}

func (w *world) http(ctx context.Context, h *httpStep) error {
	method := h.Method
	if method == "" {
		method = http.MethodGet
	}
	origins := []string{}
	for _, o := range h.Origins {
		origins = append(origins, w.url(o))
	}
	results := make(chan error, max(1, h.Count))
	for range cap(results) {
		go func() {
			a, err := w.runner.ask(ctx, map[string]any{
				"op": "http", "source": w.source, "method": method, "url": w.url(h.URL), "body": h.Body, "repeatable": !h.Once,
				"origins": origins, "deadline_ms": h.Deadline.Milliseconds(),
			})
			if err == nil {
				err = w.judgeHTTP(h, method, a)
			}
			results <- err
		}()
	}
	var errs []error
	for range cap(results) {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

func (w *world) judgeHTTP(h *httpStep, method string, a *answer) error {
	got := fmt.Sprintf("status %d", a.Status)
	if a.Error != nil {
		got = a.Error.Reason + " (" + a.Error.Message + ")"
	}
	w.logf("%s %s: %s", method, h.URL, got)
	switch {
	case h.Error != "" && (a.Error == nil || a.Error.Reason != h.Error):
		return fmt.Errorf("%s %s: %s, want %s", method, h.URL, got, h.Error)
	case h.Error == "" && (a.Error != nil || a.Status != h.Status):
		return fmt.Errorf("%s %s: %s, want status %d", method, h.URL, got, h.Status)
	case !strings.Contains(a.Body, h.Contains):
		return fmt.Errorf("%s %s: the answer has no %q: %q", method, h.URL, h.Contains, a.Body)
	}
	return nil
}

func (w *world) close(ctx context.Context, c *closeStep) error {
	sent := time.Now()
	a, err := w.ask(ctx, map[string]any{"op": "close", "client": w.client})
	if err != nil {
		return err
	}
	w.closed = true
	took := time.Since(sent)
	w.logf("close: took %v, %d left", took.Round(time.Millisecond), a.Leaked)
	if c.Within > 0 && took > c.Within {
		return fmt.Errorf("closing took %v, want %v at most", took, c.Within)
	}
	if w.own && a.Leaked != 0 {
		return fmt.Errorf("%d goroutines, threads, tasks, timers or sockets are left after close", a.Leaked)
	}
	return nil
}
