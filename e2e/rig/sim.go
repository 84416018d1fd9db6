package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// Sim is a running `holdfast sim`.
type Sim struct {
	*Process
	URL string
	// provider is what it printed to be pasted into a configuration.
	provider string
}

// StartSim starts the simulated provider with these apps; every consent is
// accepted without a page.
func StartSim(t testing.TB, where Addresses, apps ...App) *Sim {
	t.Helper()
	args := []string{"sim", "--listen", "127.0.0.1:0", "--auto-consent"}
	for _, a := range apps {
		args = append(args, "--app", fmt.Sprintf("client_id=%s secret=%s callback=%s scopes=read:me,%s",
			a.ID, a.Secret, where.Callback(), strings.Join(a.Scopes, ",")))
	}
	s := &Sim{Process: Start(t, "sim", exec.Command(Binary(t, Build{Plain: true}), args...))}
	const last = "/ex/confluence/{cloudid}\"}\n" // of what it prints at its start
	Until(t, "the simulator has said where it is", func() bool { return strings.Contains(s.Output(), last) })
	_, section, _ := strings.Cut(s.Output(), "provider:\n")
	var text strings.Builder
	for line := range strings.Lines(section) {
		text.WriteString(strings.TrimPrefix(line, "  "))
	}
	s.provider = text.String()
	_, url, _ := strings.Cut(section, "token_url: ")
	s.URL, _, _ = strings.Cut(url, "/oauth/token")
	return s
}

// Provider is the section of a configuration for this simulator: settings are
// keys of the section, overrides those of the profile; each ends its line.
func (s *Sim) Provider(settings, overrides string) string {
	text := settings + s.provider
	for line := range strings.Lines(overrides) {
		text += "  " + line
	}
	return text
}

// Fault arms a fault for refreshes.
func (s *Sim) Fault(t testing.TB, f atlassiansim.Fault) {
	t.Helper()
	f.GrantType = "refresh_token"
	s.call(t, http.MethodPost, "faults", f, nil)
}

// Heal disarms all faults.
func (s *Sim) Heal(t testing.TB) {
	t.Helper()
	s.call(t, http.MethodDelete, "faults", nil, nil)
}

// Behave sets switches; see atlassiansim.Behaviour for their names.
func (s *Sim) Behave(t testing.TB, switches map[string]any) {
	t.Helper()
	s.call(t, http.MethodPatch, "behaviour", switches, nil)
}

// Ledger is the provider's own record of what happened.
func (s *Sim) Ledger(t testing.TB) (l atlassiansim.Ledger) {
	t.Helper()
	s.call(t, http.MethodGet, "ledger", nil, &l)
	return l
}

// Accepts reports whether the provider takes the access token.
func (s *Sim) Accepts(t testing.TB, token string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

func (s *Sim) call(t testing.TB, method, path string, body, answer any) {
	t.Helper()
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/_sim/"+path, &sent)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		t.Fatalf("the simulator answered %s to %s %s", resp.Status, method, path)
	}
	if answer == nil {
		return
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatalf("decoding the simulator's answer: %v", err)
	}
}
