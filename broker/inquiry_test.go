package broker_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// logText keeps what is logged.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// lines returns the lines that have all words.
func (l *logText) lines(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.buf.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found = append(found, line)
		}
	}
	return found
}

// writesLog gives the world a log that can be read.
func writesLog(to *logText) setting {
	return func(w *world) { w.cfg.Log = slog.New(slog.NewTextHandler(to, nil)) }
}

// details returns the details of the grant's events of a type, oldest first.
func (w *world) details(a storage.Address, typ family.EventType) []string {
	w.t.Helper()
	events, err := w.store.Events(ctx, a.GrantID(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var found []string
	for _, e := range events {
		if e.Type == typ {
			found = append(found, e.Detail)
		}
	}
	slices.Reverse(found)
	return found
}

// steal spends a refresh token as a stranger with the client's secret does, and
// returns its successor.
func (w *world) steal(token string) string {
	w.t.Helper()
	client := &http.Client{}
	defer client.CloseIdleConnections()
	resp, err := client.PostForm(w.simURL+"/oauth/token", url.Values{"grant_type": {"refresh_token"},
		"client_id": {"client-jira"}, "client_secret": {"secret-jira"}, "refresh_token": {token}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	return field(w.t, resp, "refresh_token")
}

// refuse has the provider refuse the grant's token at a forced refresh, and waits
// for the first look.
func (w *world) refuse(a storage.Address) {
	w.t.Helper()
	if _, err := w.ForceRefresh(ctx, op, "", a); err == nil {
		w.t.Fatal("the provider took the token")
	}
	waitFor(w.t, func() bool { return len(w.details(a, family.EventUnexplained)) == 1 })
}

// minutes sweeps once a minute.
func (w *world) minutes(n int) {
	for range n {
		w.clock.Advance(61 * time.Second)
		w.Sweep(ctx)
	}
}

func TestForeignUseIsFoundByTheAccessTokenThatDiesEarly(t *testing.T) {
	var log logText
	w := newWorld(t, writesLog(&log))
	w.consent(jira)
	stolen := w.steal(w.grant(jira).State.Refresh.Reveal())
	w.clock.Advance(time.Minute)
	w.steal(stolen) // the first token is not the previous one any more: sent again, it ends the family
	w.refuse(jira)
	if i := w.grant(jira).State.Inquiry; i == nil || !i.Accepted {
		t.Fatalf("inquiry %+v: the access token was still accepted", i)
	}
	w.minutes(2)
	w.lapse(jira)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.startBroker() // it goes on over a restart
	w.minutes(5)
	if got := w.details(jira, family.EventForeignUse); len(got) != 0 || w.grant(jira).State.Phase != family.Lapsed {
		t.Fatalf("%v while the access token lives, in phase %v", got, w.grant(jira).State.Phase)
	}
	w.minutes(3)
	if got := w.details(jira, family.EventForeignUse); len(got) != 1 || w.grant(jira).State.Inquiry != nil {
		t.Fatalf("foreign use %q, inquiry %+v", got, w.grant(jira).State.Inquiry)
	}
	if lines := log.lines("level=ERROR", "SECURITY", "acme/automation/jira", "rotate the app's client secret"); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
	audited := slices.ContainsFunc(w.auditLines(), func(m map[string]any) bool {
		return m["outcome"] == "FOREIGN_USE" && m["grant"] == jira.String() && strings.Contains(m["detail"].(string), "find who holds the token")
	})
	if !audited {
		t.Errorf("audit %v", w.auditLines())
	}
	if got := w.details(jira, family.EventUnexplained); len(got) != 1 || !strings.Contains(got[0], "foreign_use") || strings.Contains(got[0], "idle_limit") {
		t.Errorf("unexplained %q", got)
	}
}

func TestWhatIsNoForeignUseEndsTheInquirySilently(t *testing.T) {
	account := atlassiansim.DefaultAccounts()[0].ID
	for name, row := range map[string]struct {
		end      func(*world) error
		accepted bool // at the first look
		causes   []string
	}{
		"revoked by the person": {func(w *world) error { _, err := w.sim.RevokeAccess(account, "client-jira"); return err }, false,
			[]string{"revoked_by_person", "deactivated"}},
		"the password was changed": {func(w *world) error { _, err := w.sim.ChangePassword(account); return err }, true, []string{"password_changed"}},
		"deactivated":              {func(w *world) error { _, err := w.sim.DeactivateAccount(account); return err }, false, []string{"deactivated"}},
		"idle": {func(w *world) error { w.clock.Advance(91 * 24 * time.Hour); return nil }, false,
			[]string{"idle_limit"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log logText
			w := newWorld(t, writesLog(&log))
			w.consent(jira)
			if err := row.end(w); err != nil {
				t.Fatal(err)
			}
			w.refuse(jira)
			if i := w.grant(jira).State.Inquiry; (i != nil) != row.accepted {
				t.Errorf("inquiry %+v after the first look", i)
			}
			w.minutes(13)
			if i := w.grant(jira).State.Inquiry; i != nil {
				t.Errorf("inquiry %+v after all", i)
			}
			if got := w.details(jira, family.EventForeignUse); len(got) > 0 || len(log.lines("SECURITY")) > 0 {
				t.Errorf("foreign use %q, logged %q", got, log.lines("SECURITY"))
			}
			got := w.details(jira, family.EventUnexplained)
			for _, cause := range row.causes {
				if len(got) != 1 || !slices.Contains(strings.Fields(got[0]), cause) {
					t.Errorf("causes %q, want %s among them, once", got, cause)
				}
			}
			if len(got) == 1 && strings.Contains(got[0], "scopes_overridden") {
				t.Errorf("causes %q without related grants", got)
			}
		})
	}
}

func TestARefusalAfterALostAnswerIsExplained(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); err == nil {
		t.Fatal("the answer was not lost")
	}
	if _, err := w.sim.RevokeAccess(atlassiansim.DefaultAccounts()[0].ID, "client-jira"); err != nil {
		t.Fatal(err)
	}
	w.minutes(3)
	if got := w.details(jira, family.EventRefused); len(got) == 0 {
		t.Fatal("nothing was refused")
	}
	if got := w.details(jira, family.EventUnexplained); len(got) != 0 || w.grant(jira).State.Inquiry != nil {
		t.Fatalf("unexplained %q", got)
	}
}
