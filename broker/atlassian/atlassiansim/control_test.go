package atlassiansim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestControlAPI(t *testing.T) {
	const revokePath = "/_sim/accounts/712020:5c1e6a52-0001-4f6b-9a57-automation01/revoke"
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/_sim/clock", "", 200, `"now": "2026-11-01T12:00:00Z"`},
		{"POST", "/_sim/clock/advance", `{"by":"11m"}`, 200, `"now": "2026-11-01T12:11:00Z"`},
		{"POST", "/_sim/clock/advance", `{"by":"eleven"}`, 400, "want a duration"},
		{"POST", "/_sim/clock/advance", `{"seconds":11}`, 400, "unknown field"},
		{"POST", "/_sim/clock/set", `{"now":"2027-01-31T12:00:00Z"}`, 200, `"now": "2027-01-31T12:00:00Z"`},
		{"POST", "/_sim/clock/set", `{}`, 400, "want a time"},
		{"GET", "/_sim/faults", "", 200, "[]"},
		{"POST", "/_sim/faults", `{"kind":"hang"}`, 200, `"id": "fault-1"`},
		{"POST", "/_sim/faults", `{"kind":"sneeze"}`, 400, `kind \"sneeze\": want one of`},
		{"DELETE", "/_sim/faults", "", 200, "[]"},
		{"DELETE", "/_sim/faults/fault-9", "", 404, "not found"},
		{"GET", "/_sim/behaviour", "", 200, `"leeway_seconds": 600`},
		{"PATCH", "/_sim/behaviour", `{"leeway_seconds":3,"reuse":"any"}`, 200, `"reuse": "any"`},
		{"PATCH", "/_sim/behaviour", `{"reuse":"none"}`, 400, `reuse \"none\": want one of`},
		{"PATCH", "/_sim/behaviour", `{"leeway":3}`, 400, "unknown field"},
		{"GET", "/_sim/ledger", "", 200, `"token_posts": 0`},
		{"GET", "/_sim/apps", "", 200, `"client_id": "jira-client"`},
		{"PUT", "/_sim/apps/jira-client/secrets", `{"secrets":["a","b"]}`, 200, `"secrets": 2`},
		{"PUT", "/_sim/apps/jira-client/secrets", `{"secrets":[]}`, 400, "at least one"},
		{"PUT", "/_sim/apps/nobody/secrets", `{"secrets":["a"]}`, 404, "not found"},
		{"GET", "/_sim/accounts", "", 200, `"email": "ada@acme.example"`},
		{"GET", "/_sim/sites", "", 200, `"url": "https://acme.atlassian.net"`},
		{"POST", revokePath, "", 200, `"ended": 0`},
		{"POST", revokePath, `{"client_id":"jira-client"}`, 200, `"ended": 0`},
		{"POST", "/_sim/accounts/nobody/revoke", "", 404, "not found"},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			b := newBench(t)
			r := b.request(c.method, c.path, "", c.body)
			if r.err != nil || r.status != c.status || !contains(r.body, c.says) || !json.Valid(r.body) {
				t.Fatalf("got %d %s, error %v; want %d with %s", r.status, r.body, r.err, c.status, c.says)
			}
		})
	}
}

func TestControlAPIDrivesTheSimulator(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	control := func(method, path, body string) {
		t.Helper()
		if r := b.request(method, path, "", body); r.status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
		}
	}
	control("POST", "/_sim/faults", `{"kind":"drop_before_answer","count":1}`)
	if r := b.refresh(p.Refresh); r.err == nil {
		t.Fatal("the fault did not fire")
	}
	control("PATCH", "/_sim/behaviour", `{"leeway_seconds":0}`)
	wantRefused(t, b.refresh(p.Refresh))

	var l Ledger
	if r := b.request("GET", "/_sim/ledger", "", ""); json.Unmarshal(r.body, &l) != nil {
		t.Fatalf("the ledger is not JSON: %s", r.body)
	}
	if d := cmp.Diff(b.sim.Ledger(), l); d != "" {
		t.Fatalf("the ledger over HTTP differs (-want +got):\n%s", d)
	}
	if l.Families[0].EndedWhy != EndReuse || len(l.LateReuses()) != 1 {
		t.Fatalf("got %+v", l.Families[0])
	}
}

func TestNoSecretOrTokenLeavesByTheControlAPI(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	for _, path := range []string{"ledger", "apps", "faults", "accounts", "clock", "behaviour", "sites"} {
		r := b.request("GET", "/_sim/"+path, "", "")
		for _, s := range []string{p.Access, p.Refresh, jiraSecret} {
			if strings.Contains(string(r.body), s) {
				t.Errorf("%s shows a secret", path)
			}
		}
	}
}

func TestTheClockRunsOnFromWhereItIsSet(t *testing.T) {
	now := start
	sim, err := New(Config{Apps: testConfig().Apps, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	set := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := sim.SetNow(set); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if err := sim.Advance(time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, want := sim.Now(), set.Add(time.Hour+time.Minute); !got.Equal(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
