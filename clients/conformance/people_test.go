package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os/exec"
	"strings"
	"time"
)

// operate does what an operator does, by the command line, past the relay.
func (d *dev) operate(ctx context.Context, what, grant string) (*grantShown, error) {
	args := map[string][]string{"refresh": {"grants", "refresh", grant}, "revoke": {"grants", "revoke", grant, "--yes"}}[what]
	if args == nil {
		return nil, fmt.Errorf("operator: %q: want refresh, tries to refresh or revoke", what)
	}
	cmd := exec.CommandContext(ctx, d.binary, append(args, "--dir", d.dir, "-o", "json")...)
	var said tail
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("holdfast %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	var shown struct {
		Grant grantShown `json:"grant"`
	}
	return &shown.Grant, json.Unmarshal(out, &shown)
}

// reauth returns an operator's link for a new consent of a grant.
func (d *dev) reauth(ctx context.Context, grant string) (string, error) {
	cmd := exec.CommandContext(ctx, d.binary, "grants", "reauth", grant, "--dir", d.dir, "-o", "json")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("holdfast grants reauth: %w", err)
	}
	var shown struct {
		URL string `json:"url"`
	}
	return shown.URL, json.Unmarshal(out, &shown)
}

// grantShown is what is of interest of a grant.
type grantShown struct {
	Generation uint64    `json:"generation,string"`
	Expires    time.Time `json:"accessExpiresAt"`
}

// consent goes the way of a person's browser along a link: connect page,
// "continue", the provider, which accepts without a page, and back. site is the
// cloud id that the person chooses; the first one if empty.
func consent(ctx context.Context, link, site string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startBound}
	browser.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
		if q := next.URL.Query(); site != "" && next.URL.Path == "/authorize" {
			q.Set("sim_site", site)
			next.URL.RawQuery = q.Encode()
		}
		return nil
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(ctx, method, link, nil)
		if err != nil {
			return errors.New("the link is no URL")
		}
		request.Header.Set("X-Sim-Consent", "accept")
		answer, err := browser.Do(request)
		if err != nil {
			return fmt.Errorf("the link leads nowhere: %w", err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the connect page, or where it led, answered %s to a %s", answer.Status, method)
		}
	}
	return nil
}
