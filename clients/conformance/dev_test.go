package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
)

const (
	// startBound of a dev, which takes a fraction of a second on an idle machine.
	startBound = time.Minute
	stopBound  = time.Minute
	// portTries is how often a dev tries to get its ports.
	portTries = 40
)

// dev is a `holdfast dev` in a directory of its own.
type dev struct {
	binary, dir string
	ttl, grace  time.Duration

	cmd  *exec.Cmd
	log  tail
	exit chan error

	// Where it serves, as host:port. All but grpc stay over a new start.
	grpc, http, metrics, sim string
}

// start starts it, for the first time or again, and waits until it serves.
func (d *dev) start() error {
	for try := 1; ; try++ {
		err := d.tryStart()
		// Of so many that start at once two may choose the same free port, and somebody
		// else's connection may hold for a moment one that is to be taken again.
		taken := err != nil && strings.Contains(err.Error(), "is taken by another program")
		if err == nil || d.sim == "" && !taken || try == portTries {
			return err
		}
		pause := time.NewTimer(250 * time.Millisecond)
		<-pause.C
	}
}

func (d *dev) tryStart() error {
	args := []string{"dev", "--dir", d.dir, "--access-ttl", d.ttl.String(), "--access-grace", d.grace.String()}
	for _, p := range []struct{ flag, addr string }{{"grpc", d.grpc}, {"http", d.http}, {"metrics", d.metrics}, {"sim", d.sim}} {
		port := "0"
		if _, was, found := strings.Cut(p.addr, ":"); found {
			port = was
		}
		args = append(args, "--"+p.flag+"-port", port)
	}
	d.cmd = exec.Command(d.binary, args...)
	d.cmd.Stderr = &d.log
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("starting holdfast dev: %w", err)
	}
	ready, exit := make(chan struct{}), make(chan error, 1)
	d.exit = exit
	go func() {
		serving := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if !serving && strings.Contains(lines.Text(), "Ctrl-C ends it") {
				serving = true
				close(ready)
			}
		}
		exit <- d.cmd.Wait()
	}()
	bound := time.NewTimer(startBound)
	defer bound.Stop()
	select {
	case <-ready:
		return d.find()
	case err := <-exit:
		d.cmd = nil
		return fmt.Errorf("holdfast dev ended instead of serving: %w\n%s", err, d.log.String())
	case <-bound.C:
		_ = d.cmd.Process.Kill()
		d.cmd = nil
		return fmt.Errorf("holdfast dev does not serve after %v: %w\n%s", startBound, <-exit, d.log.String())
	}
}

// find reads where it serves.
func (d *dev) find() error {
	text, err := os.ReadFile(filepath.Join(d.dir, "holdfast.yaml"))
	if err != nil {
		return err
	}
	type listener struct {
		Listen string `yaml:"listen"`
	}
	var c struct {
		GRPC     listener `yaml:"grpc"`
		HTTP     listener `yaml:"http"`
		Metrics  listener `yaml:"metrics"`
		Provider struct {
			Overrides struct {
				TokenURL string `yaml:"token_url"`
			} `yaml:"overrides"`
		} `yaml:"provider"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return err
	}
	d.grpc, d.http, d.metrics = c.GRPC.Listen, c.HTTP.Listen, c.Metrics.Listen
	d.sim = strings.TrimSuffix(strings.TrimPrefix(c.Provider.Overrides.TokenURL, "http://"), "/oauth/token")
	return nil
}

// stop ends it in good order; a dev that is not running is none to stop.
func (d *dev) stop(sig syscall.Signal) error {
	if d.cmd == nil {
		return nil
	}
	defer func() { d.cmd = nil }()
	if err := d.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("stopping holdfast dev: %w", err)
	}
	bound := time.NewTimer(stopBound)
	defer bound.Stop()
	select {
	case err := <-d.exit:
		if err != nil && sig != syscall.SIGKILL {
			return fmt.Errorf("holdfast dev did not end in good order: %w\n%s", err, d.log.String())
		}
		return nil
	case <-bound.C:
		_ = d.cmd.Process.Kill()
		return fmt.Errorf("holdfast dev goes on %v after it was told to end: %w\n%s", stopBound, <-d.exit, d.log.String())
	}
}

// record is one line of the audit record.
type record struct {
	Method     string    `json:"method"`
	Grant      string    `json:"grant"`
	Generation uint64    `json:"generation"`
	AliveUntil time.Time `json:"alive_until"`
	Outcome    string    `json:"outcome"`
}

// records of what was done, without the announcements of what was about to be done.
func (d *dev) records() ([]record, error) {
	text, err := os.ReadFile(filepath.Join(d.dir, "audit.log"))
	if err != nil {
		return nil, err
	}
	var all []record
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // being written
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("reading the audit record: %w", err)
		}
		if r.Outcome != "begun" {
			all = append(all, r)
		}
	}
	return all, nil
}

// aliveUntil says until when the tokens of each generation are alive, to the second.
func (d *dev) aliveUntil(grant string) (map[uint64]time.Time, error) {
	all, err := d.records()
	until := map[uint64]time.Time{}
	for _, r := range all {
		if r.Grant == grant && r.AliveUntil.After(until[r.Generation]) {
			until[r.Generation] = r.AliveUntil
		}
	}
	return until, err
}

// calls of TokenService that the broker has finished since it started, refused ones
// too: refusals of the same kind share one line of the audit record.
func (d *dev) calls() (map[string]int, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startBound}
	answer, err := client.Get("http://" + d.metrics + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	calls := map[string]int{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), `holdfast_rpc_calls_total{method="holdfast.v1.TokenService/`)
		if !found {
			continue
		}
		method, _, _ := strings.Cut(rest, `"`)
		n, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("reading the broker's metrics: %w", err)
		}
		if n > 0 {
			calls[method] += int(n)
		}
	}
	return calls, lines.Err()
}

// exchanges counts the requests that the provider's token endpoint got.
func (d *dev) exchanges() (int, error) {
	var counts struct {
		Exchanges int `json:"exchanges"`
	}
	err := d.control(http.MethodGet, "/_sim/counts", nil, &counts)
	return counts.Exchanges, err
}

// control calls the simulated provider's control API.
func (d *dev) control(method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, "http://"+d.sim+path, in)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startBound}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New("the simulator's control API answered " + strconv.Itoa(answer.StatusCode) + " to " + path + ": " + string(text))
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	return err
}
