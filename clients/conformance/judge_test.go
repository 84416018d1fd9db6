package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// judge holds the answer to a token request against what is expected.
func (w *world) judge(t *tokenStep, a *answer, sent, answered time.Time) error {
	took := time.Duration(a.ElapsedMS) * time.Millisecond
	switch {
	case t.Within > 0 && took > t.Within:
		return fmt.Errorf("it took %v, want %v at most", took, t.Within)
	case took < t.AtLeast:
		return fmt.Errorf("it took %v, want %v at least", took, t.AtLeast)
	case t.Error != "":
		return judgeError(t, a)
	case a.Error != nil:
		return fmt.Errorf("want a token")
	case a.Token == nil || a.Token.AccessToken == "" || a.Token.Generation == 0:
		return fmt.Errorf("want a token with its generation")
	case t.APIBase && !strings.Contains(a.Token.APIBaseURL, "/ex/jira/"):
		return fmt.Errorf("the API base URL is %q", a.Token.APIBaseURL)
	case !t.Renewals.has(int(a.Token.Generation) - int(w.generation)):
		return fmt.Errorf("after %d renewals, want %v", int(a.Token.Generation)-int(w.generation), t.Renewals)
	case !t.Distinct.has(a.Distinct):
		return fmt.Errorf("%d different tokens, want %v", a.Distinct, t.Distinct)
	}
	if err := w.newest(a.Token.Generation); err != nil {
		return err
	}
	// Handed out when the last of the calls ended, at the latest; the answer may have been on its way for long.
	if handed := sent.Add(took); handed.Before(answered) {
		answered = handed
	}
	return w.alive(a.Token.Generation, answered)
}

// newest notes a generation: once seen, no older one may be handed out.
func (w *world) newest(generation uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if generation < w.last {
		return fmt.Errorf("generation %d after generation %d", generation, w.last)
	}
	w.last = generation
	return nil
}

// alive judges by the broker's record whether a token could be handed out at that time.
func (w *world) alive(generation uint64, at time.Time) error {
	if dead := at.Sub(w.expires); generation == w.generation && dead > ownSlack {
		return fmt.Errorf("a stale token: it expired %v before it was handed out", dead.Round(time.Millisecond))
	}
	until, err := w.dev.aliveUntil(w.grant)
	if err != nil {
		return err
	}
	end, known := until[generation]
	if !known {
		return fmt.Errorf("the broker has no record of handing out generation %d", generation)
	}
	if dead := at.Sub(end); dead > recordSlack {
		return fmt.Errorf("a stale token: it expired %v before it was handed out", dead.Round(time.Millisecond))
	}
	return nil
}

func judgeError(t *tokenStep, a *answer) error {
	e := a.Error
	if e == nil {
		return fmt.Errorf("want the error %s", t.Error)
	}
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if e.Reason != t.Error {
		bad("reason %s, want %s", e.Reason, t.Error)
	}
	if t.Code != "" && e.Code != t.Code {
		bad("code %q, want %s", e.Code, t.Code)
	}
	if t.Why != "" && e.Why != t.Why {
		bad("why %q, want %s", e.Why, t.Why)
	}
	if t.Link && !strings.HasPrefix(e.Link, "http") {
		bad("link %q, want the connect page's", e.Link)
	}
	if t.Sites != "" && !strings.Contains(strings.Join(e.Sites, " "), t.Sites) {
		bad("sites %q, want one with %s", e.Sites, t.Sites)
	}
	if t.Missing != nil && !slices.Equal(e.Missing, t.Missing) {
		bad("missing %q, want %q", e.Missing, t.Missing)
	}
	if t.RetryAfter && e.RetryAfterMS <= 0 {
		bad("no time to wait before a retry")
	}
	if t.RequestID && e.RequestID == "" {
		bad("no request id")
	}
	if e.Message == "" {
		bad("no message for people")
	}
	if max(1, t.Count) != max(1, a.Failed) {
		bad("%d of %d calls failed, want all", a.Failed, max(1, t.Count))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// look judges what others saw.
func (w *world) look(s *step) error {
	if s.Asked != nil {
		return w.asked(s.Asked)
	}
	if s.Exchanged != nil {
		n, err := w.dev.exchanges()
		if err != nil {
			return err
		}
		w.logf("exchanged: %d", n-w.before)
		if n -= w.before; !s.Exchanged.has(n) {
			return fmt.Errorf("the provider saw %d exchanges, want %v", n, s.Exchanged)
		}
		return nil
	}
	if s.Connected != nil {
		n := w.relay.count()
		w.logf("connected: %d", n)
		if !s.Connected.has(n) {
			return fmt.Errorf("%d connections to the broker were begun, want %v", n, s.Connected)
		}
		return nil
	}
	for name, want := range s.Arrived {
		server := map[string]*apiServer{"api": w.api, "other": w.other}[name]
		if server == nil {
			return fmt.Errorf("arrived: %q: want api or other", name)
		}
		if err := server.judge(want); err != nil {
			return fmt.Errorf("the server %s: %w", name, err)
		}
	}
	return nil
}

// asked counts the calls that the broker has finished, by method; only the runner calls
// these. What was pushed to a stream is counted by the audit record.
func (w *world) asked(want map[string]span) error {
	all, err := w.dev.records()
	if err != nil {
		return err
	}
	counts := map[string]int{}
	for _, r := range all {
		counts[r.Method]++
	}
	w.logf("the broker's record: %v", counts)
	calls, err := w.dev.calls()
	if err != nil {
		return err
	}
	w.logf("the broker's calls: %v", calls)
	for method, n := range want {
		if method != "WatchAccessToken" {
			counts[method] = calls[method]
		}
		if !n.has(counts[method]) {
			return fmt.Errorf("the broker was asked %d times for %s, want %v", counts[method], method, &n)
		}
	}
	return nil
}
