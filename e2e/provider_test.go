package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

// client is one OAuth client registration at the provider.
type client struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// line is one line of the provider's ledger: see ledger.mjs.
type line struct {
	Event     string `json:"event"`
	Issuer    string `json:"issuer"`
	Line      string `json:"line"`
	Client    string `json:"client"`
	GrantType string `json:"grant_type"`
	Status    int    `json:"status"`
	Error     string `json:"error"`
	Sent      string `json:"sent"`
	Issued    string `json:"issued"`
	Grant     string `json:"grant"`
}

// provider is a running counterpart.
type provider struct {
	issuer string
	stdin  io.WriteCloser
	lines  chan line

	mu     sync.Mutex
	ledger []line
	syncs  int
}

// startProvider starts the counterpart and ends it with the test. env are
// further settings, as settings.mjs lists them.
func startProvider(t *testing.T, callbackURL string, scopes, env []string, clients ...client) *provider {
	t.Helper()
	if _, err := os.Stat(filepath.Join("node_modules", "oidc-provider")); err != nil {
		t.Fatalf("the counterpart's packages are not installed: run `make test`, or `npm ci` in e2e/ (%v)", err)
	}
	list, err := json.Marshal(clients)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "provider.mjs")
	cmd.Env = append(append(os.Environ(), env...), "OIDC_CLIENTS="+string(list), "OIDC_CALLBACK_URL="+callbackURL,
		"OIDC_SCOPES="+strings.Join(scopes, " "))
	cmd.Stderr = rig.LogWriter(t, "provider")
	stdin, stdout := pipes(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting node (Debian's package is nodejs): %v", err)
	}
	p := &provider{stdin: stdin, lines: make(chan line, 1024)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for scan := bufio.NewScanner(stdout); scan.Scan(); {
			var l line
			if json.Unmarshal(scan.Bytes(), &l) == nil {
				p.lines <- l
			}
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // it exits when its standard input closes
		for range p.lines {
			continue // so that the reader is not left with a full channel
		}
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the provider ended badly: %v", err)
		}
	})
	p.issuer = p.next(t, "ready").Issuer
	return p
}

func pipes(t *testing.T, cmd *exec.Cmd) (io.WriteCloser, io.Reader) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return stdin, stdout
}

// next reads the ledger up to the first line of that event and returns it.
func (p *provider) next(t *testing.T, event string) line {
	t.Helper()
	deadline := time.After(rig.Patience)
	for {
		select {
		case l, open := <-p.lines:
			if !open {
				t.Fatalf("the provider ended before it said %q", event)
			}
			p.ledger = append(p.ledger, l)
			if l.Event == event {
				return l
			}
		case <-deadline:
			t.Fatalf("the provider did not say %q within %v", event, rig.Patience)
		}
	}
}

// sync returns the ledger of everything that has happened until now.
func (p *provider) sync(t *testing.T) []line {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncs++
	mark := strconv.Itoa(p.syncs)
	if _, err := fmt.Fprintln(p.stdin, mark); err != nil {
		t.Fatalf("asking the provider for its ledger: %v", err)
	}
	for p.next(t, "sync").Line != mark {
		continue
	}
	return append([]line(nil), p.ledger...)
}

// exchanges returns the requests of one client at the token endpoint.
func (p *provider) exchanges(t *testing.T, clientID string) []line {
	t.Helper()
	var found []line
	for _, l := range p.sync(t) {
		if l.Event == "token" && l.Client == clientID {
			found = append(found, l)
		}
	}
	return found
}

// grantsRevoked counts the grants that the provider has ended.
func (p *provider) grantsRevoked(t *testing.T) int {
	t.Helper()
	n := 0
	for _, l := range p.sync(t) {
		if l.Event == "grant_revoked" {
			n++
		}
	}
	return n
}

// tokenAnswer is what the token endpoint says.
type tokenAnswer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
	Status  int    `json:"-"`
}

// token asks the token endpoint past the broker, as a thief or an old backup would.
func (p *provider) token(t *testing.T, c client, form url.Values) tokenAnswer {
	t.Helper()
	form.Set("client_id", c.ID)
	form.Set("client_secret", c.Secret)
	resp, err := http.PostForm(p.issuer+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer := tokenAnswer{Status: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("decoding the token endpoint's answer: %v", err)
	}
	return answer
}

// refresh spends a refresh token past the broker.
func (p *provider) refresh(t *testing.T, c client, token string) tokenAnswer {
	t.Helper()
	return p.token(t, c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// subject asks the userinfo endpoint whose access token this is, and returns
// the HTTP status and the subject.
func (p *provider) subject(t *testing.T, access string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.issuer+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var who struct {
		Subject string `json:"sub"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&who); err != nil {
		t.Fatalf("decoding the userinfo answer: %v", err)
	}
	return resp.StatusCode, who.Subject
}
