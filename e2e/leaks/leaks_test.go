package leaks

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Everything that the broker can be made to say is said in here, at the finest
// log level and in each format: calls, pages, verbs, faults, a hostile provider,
// a crash, a backup. None of it, and no file, holds a piece of a secret.
func TestNothingThatTheBrokerSaysOrWritesHoldsASecret(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			w := newWorld(t, format, "", "")
			w.serve()
			w.everyPage()
			w.consent(w.wiki)
			c := w.callers()
			reasons := w.everyRPC(c)
			reasons = append(reasons, w.faults(c)...)
			w.verbs()
			w.metrics()
			w.crash()
			w.serve()
			w.metrics()
			reasons = append(reasons, w.endings(c)...)
			w.server.Stop(t)
			w.look("the log, and the audit record on standard output", []byte(w.server.Output()))
			w.look("what the collector has of the audit record", w.collector.all())
			w.audited()
			w.backup()
			w.lookAtFiles()
			w.complete(reasons)
		})
	}
}

// A family that may be lost is given up at once at a provider without leeway: its
// callers get a link in their error, and nothing else.
func TestALinkInAnErrorComesAlone(t *testing.T) {
	w := newWorld(t, "text", "in_doubt: lapse\n", "leeway: 0s\n")
	w.serve()
	w.consent(w.jira)
	c := w.callers()
	refresh := &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)}
	w.sim.Fault(t, atlassiansim.Fault{Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "1", Count: 1})
	w.do(c, operator, "ForceRefresh", refresh)
	w.sim.Fault(t, atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1})
	w.do(c, operator, "ForceRefresh", refresh)
	links := w.scan.count()[link]
	rig.Until(t, "the family is given up and its last token has ended", func() bool {
		return w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)}) == "CONSENT_REQUIRED"
	})
	if w.scan.count()[link] == links {
		t.Error("the error carried no link; the test has nothing to look at")
	}
	w.consent(w.jira)
	w.server.Stop(t)
	w.look("the log", []byte(w.server.Output()))
	w.lookAtFiles()
}

// complete checks that the test has seen what it is about: secrets of every
// kind, and refusals for many reasons.
func (w *world) complete(reasons []string) {
	w.t.Helper()
	for kind, least := range map[string]int{
		refreshToken: 8, accessToken: 8, clientSecret: 2, code: 4, verifier: 4, state: 4, cookie: 4, link: 6, kek: 1, privateKey: 1, planted: 6,
	} {
		if n := w.scan.count()[kind]; n < least {
			w.t.Errorf("%d secrets of the kind %s came by, want at least %d", n, kind, least)
		}
	}
	slices.Sort(reasons)
	w.t.Logf("%d bytes were scanned; refusals: %v", w.checked.Load(), slices.Compact(reasons))
	for _, want := range []string{
		"APP_PAUSED", "CALLER_NOT_ALLOWED", "GRANT_NOT_FOUND", "GRANT_REVOKED", "INVALID_REQUEST",
		"PROVIDER_RATE_LIMITED", "PROVIDER_UNAVAILABLE", "SCOPE_NOT_GRANTED", "SITE_NOT_GRANTED",
	} {
		if !slices.Contains(reasons, want) {
			w.t.Errorf("no call was refused for the reason %s", want)
		}
	}
}

// do calls one method of the contract as that caller and returns the reason of a refusal.
func (w *world) do(c callers, as string, method protoreflect.Name, req proto.Message) string {
	w.t.Helper()
	for _, m := range w.served(c) {
		if m.Name() == method {
			return w.call(c, as, m, req)
		}
	}
	w.t.Fatalf("there is no method %s", method)
	return ""
}

// faults lets the provider fail in every way, and echo what it was sent.
func (w *world) faults(c callers) (reasons []string) {
	w.t.Helper()
	refresh := func() {
		reasons = append(reasons, w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)}))
	}
	for _, f := range []atlassiansim.Fault{
		{Kind: atlassiansim.FaultRateLimit, Count: 1}, {Kind: atlassiansim.FaultRefuse, Count: 1}, {Kind: atlassiansim.FaultHTML, Count: 1},
		{Kind: atlassiansim.FaultDropMidBody, Count: 1}, {Kind: atlassiansim.FaultTruncatedJSON, Count: 1}, {Kind: atlassiansim.FaultStatus, Status: 502, Count: 1},
	} {
		w.sim.Fault(w.t, f)
		refresh()
		w.sim.Heal(w.t)
		refresh()
	}
	for _, e := range []echo{
		{status: 400, body: `{"error": "invalid_request", "error_description": "%s"}`},
		{status: 400, body: `{"error": "%s", "error_description": "no"}`},
		{status: 403, body: `{"error": "invalid_grant", "error_description": "Unknown or invalid refresh token: %s"}`},
		{status: 500, body: `<html>%s</html>`},
		{status: 307, header: http.Header{"Location": {"https://evil.example/?%s"}}},
		{status: 200, header: http.Header{"X-Echo": {"%s"}}, body: `{"access_token": {"%s": 1}}`},
		{status: 200, body: `{"access_token": "x", "expires_in": "%s"`},
	} {
		w.tap.hostile.Store(&e)
		refresh()
		denied := w.toProvider(w.jira)
		denied.finish()
		w.tap.hostile.Store(nil)
		refresh()
	}
	return append(reasons, w.limited(c))
}

// limited lets a token run out while the provider answers 429.
func (w *world) limited(c callers) (reason string) {
	w.t.Helper()
	w.sim.Fault(w.t, atlassiansim.Fault{Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "1", Count: 1000})
	rig.Until(w.t, "a refresh succeeds after all that failed", func() bool {
		return w.do(c, operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)}) == ""
	})
	w.sim.Heal(w.t)
	w.sim.Fault(w.t, atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit, Count: 1000})
	defer w.sim.Heal(w.t)
	rig.Until(w.t, "a call is refused because of the provider's limit", func() bool {
		reason = w.do(c, integration, "GetAccessToken", &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)})
		return reason != ""
	})
	return reason
}

// endings ends grants, after which calls are refused for other reasons.
func (w *world) endings(c callers) (reasons []string) {
	w.t.Helper()
	draw := &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject)}
	add := func(as string, method protoreflect.Name, req proto.Message) {
		reasons = append(reasons, w.do(c, as, method, req))
	}
	add(operator, "PauseApp", &holdfastv1.PauseAppRequest{AppId: w.jira.Product})
	add(operator, "ForceRefresh", &holdfastv1.ForceRefreshRequest{Grant: w.jira.Grant(subject)})
	add(operator, "ResumeApp", &holdfastv1.ResumeAppRequest{AppId: w.jira.Product})
	add(operator, "RevokeGrant", &holdfastv1.RevokeGrantRequest{Grant: w.jira.Grant(subject), Reason: "the end"})
	add(integration, "GetAccessToken", draw)
	add(operator, "StartReauth", &holdfastv1.StartReauthRequest{Grant: w.jira.Grant(subject)})
	add(integration, "GetAccessToken", draw)
	add(operator, "GetGrant", &holdfastv1.GetGrantRequest{Grant: w.jira.Grant(subject)})
	return reasons
}

// metrics scans /metrics.
func (w *world) metrics() {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.Where.Metrics+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, body := w.page(http.DefaultClient, req); !strings.Contains(string(body), "holdfast_") {
		w.t.Error("/metrics has no metric of the product")
	}
}

// verbs runs what an operator runs, in every form of output.
func (w *world) verbs() {
	w.t.Helper()
	cert, key := w.Credentials(w.t, operator)
	w.plantKey(key)
	connect := []string{"--addr", w.Where.GRPC, "--ca", filepath.Join(w.Dir, "ca.crt"), "--cert", cert, "--key", key}
	grant := "acme/" + subject + "/jira"
	for _, verb := range [][]string{
		{"status"}, {"grants", "list"}, {"grants", "show", grant}, {"apps", "list"}, {"token", "get", grant}, {"grants", "show", "no/such/grant"},
		{"audit", "who-had", "--grant", grant}, {"keys", "rotate"}, {"grants", "revoke", grant, "--dry-run"},
	} {
		for _, form := range []string{"table", "json"} {
			args := append(slices.Concat(verb, connect), "--output", form)
			out, _ := w.Command(args...).CombinedOutput() // refusals are looked at, too
			w.look("holdfast "+strings.Join(verb, " ")+" in the form "+form, out)
		}
	}
	out, _ := w.Command("doctor", "--config", "holdfast.yaml").CombinedOutput() // the store is in use: it says so
	w.look("holdfast doctor", out)
	out, _ = w.Command("audit", "verify", "audit.log").CombinedOutput() // it may be in the middle of a line
	w.look("holdfast audit verify", out)
	w.whoHad(connect)
}

// crash ends the broker by the signals that print every goroutine.
func (w *world) crash() {
	w.t.Helper()
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT} {
		w.server.Signal(w.t, sig)
		if err := w.server.Ended(w.t); err == nil {
			w.t.Errorf("%v did not end the broker", sig)
		}
		out := w.server.Output()
		if sig == syscall.SIGQUIT && !strings.Contains(out, handOut) {
			w.t.Error("standard output has no hand-out of the audit record; the test has nothing to look at")
		}
		if !strings.Contains(out, "goroutine ") {
			w.t.Errorf("%v printed no goroutines; the test has nothing to look at", sig)
		}
		w.look("the log up to "+sig.String()+", and what it printed", []byte(out))
		if sig == syscall.SIGQUIT {
			w.server = w.Serve(w.t, "GOTRACEBACK=crash")
		}
	}
}

// backup writes one of the stopped broker; lookAtFiles reads it.
func (w *world) backup() {
	w.t.Helper()
	w.look("holdfast backup", []byte(w.Run(w.t, "backup", "--config", "holdfast.yaml", "--out", "a.backup")))
	if info, err := os.Stat(filepath.Join(w.Dir, "a.backup")); err != nil || info.Size() < 1000 {
		w.t.Errorf("the backup is no backup: %v, %v", info, err)
	}
}
