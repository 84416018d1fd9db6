package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// sim is a running "holdfast sim".
type sim struct {
	*process
	url string
}

// startSim starts the provider of the broker at p.
func startSim(ctx context.Context, binary string, p *place, seed uint64) (*sim, error) {
	app := func(product, scope string) string {
		return fmt.Sprintf("client_id=crash-%s secret=%s callback=%s scopes=read:me,%s", product, clientSecret, p.callback(), scope)
	}
	cmd := exec.CommandContext(ctx, binary, "sim", "--listen", "127.0.0.1:0", "--seed", fmt.Sprint(seed),
		"--app", app("jira", "read:jira-work"), "--app", app("confluence", "read:space:confluence"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	process, err := startProcess(cmd, p.path("sim.log"))
	if err != nil {
		return nil, err
	}
	s := &sim{process: process}
	first, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the simulator did not say where it listens: %w\n%s", err, tail(p.path("sim.log"))), s.kill())
	}
	for word := range strings.FieldsSeq(first) {
		if strings.HasPrefix(word, "http://") {
			s.url = strings.TrimSuffix(word, ",")
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
	return s, nil
}

// ask calls the control API.
func (s *sim) ask(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+"/_sim/"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the simulator: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("the simulator's %s answered %s: %s", path, resp.Status, text)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the simulator's answer: %w", err)
	}
	return nil
}

func (s *sim) ledger(ctx context.Context) (l atlassiansim.Ledger, err error) {
	return l, s.ask(ctx, http.MethodGet, "ledger", nil, &l)
}

func (s *sim) behave(ctx context.Context, switches map[string]any) error {
	return s.ask(ctx, http.MethodPatch, "behaviour", switches, nil)
}

// disturb makes many answers slow, so that a kill often finds a token spent
// and its successor unknown, and loses some.
func (s *sim) disturb(ctx context.Context) error {
	for _, f := range []atlassiansim.Fault{
		{Kind: atlassiansim.FaultDropBeforeAnswer, GrantType: "refresh_token", Percent: 3},
		{Kind: atlassiansim.FaultDelayAnswer, GrantType: "refresh_token", DelayMillis: 80, Percent: 50},
		// Short of the time that a new process needs: a request that is taken
		// after the repeat of it and one rotation more is a late reuse by nobody's fault.
		{Kind: atlassiansim.FaultDelayRequest, GrantType: "refresh_token", DelayMillis: 30, Percent: 50},
		{Kind: atlassiansim.FaultDropMidBody, GrantType: "refresh_token", Percent: 4},
	} {
		if err := s.ask(ctx, http.MethodPost, "faults", f, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *sim) calm(ctx context.Context) error {
	return s.ask(ctx, http.MethodDelete, "faults", nil, nil)
}
