package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// language is one row of the table of SDKs.
type language struct {
	name string
	// build makes the runner, at the root of the repository; run starts it there.
	build, run []string
}

// languages: PROTOCOL.md shows the same table.
func languages(binaries string) []language {
	script := func(name string) language {
		return language{name, []string{"clients/" + name + "/build.sh"}, []string{"clients/" + name + "/conformance/run.sh"}}
	}
	goRunner := filepath.Join(binaries, "runner-go")
	return []language{
		{"go", []string{"go", "build", "-o", goRunner, "./clients/go/conformance"}, []string{goRunner}},
		script("typescript"), script("python"), asyncio(script("python")), script("java"),
	}
}

// asyncio is the other face of the SDK for Python, which shares its rules and none of
// its calls, threads and locks.
func asyncio(python language) language {
	return language{"python-asyncio", python.build, append(python.run, "--asyncio")}
}

// root of the repository.
const root = "../.."

const (
	// answerBound is how long a runner may take for one answer, more than any SDK's own bound.
	answerBound = 90 * time.Second
	// endBound after the end of its input a runner has ended; the protocol says 5 s.
	endBound = 20 * time.Second
)

// building holds off the second of two languages that are built by the same command.
var building sync.Mutex

// prepare builds the language's runner.
func (l language) prepare() error {
	building.Lock()
	defer building.Unlock()
	for _, command := range [][]string{l.build, l.run} {
		if strings.HasPrefix(command[0], "clients/") {
			if _, err := os.Stat(filepath.Join(root, command[0])); err != nil {
				return fmt.Errorf("the SDK for %s is not there to be tested: %s is missing", l.name, command[0])
			}
		}
	}
	cmd := exec.Command(local(l.build[0]), l.build[1:]...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the runner for %s by %q: %w\n%s", l.name, strings.Join(l.build, " "), err, out)
	}
	return nil
}

// local names a script of the repository so that it is not looked for in the PATH.
func local(command string) string {
	if strings.HasPrefix(command, "clients/") {
		return "./" + command
	}
	return command
}

// runner is a running process that drives one SDK.
type runner struct {
	language string
	cmd      *exec.Cmd
	in       io.WriteCloser
	log      tail
	ended    chan struct{} // closed when no more answers come

	mu      sync.Mutex // guards all below, and writing to in
	next    int64
	waiting map[int64]chan *answer
	stalls  []stall
}

// stall is a time for which the whole process stood still.
type stall struct {
	until time.Time
	took  time.Duration
}

// answer of a runner; see PROTOCOL.md.
type answer struct {
	ID    int64 `json:"id"`
	Token *struct {
		AccessToken string `json:"access_token"`
		Generation  uint64 `json:"generation"`
		APIBaseURL  string `json:"api_base_url"`
	} `json:"token"`
	Distinct  int     `json:"distinct"`
	Status    int     `json:"status"`
	Body      string  `json:"body"`
	Leaked    int     `json:"leaked"`
	Error     *failed `json:"error"`
	Failed    int     `json:"failed"`
	ElapsedMS float64 `json:"elapsed_ms"`
}

type failed struct {
	Reason       string   `json:"reason"`
	Code         string   `json:"code"`
	Message      string   `json:"message"`
	Link         string   `json:"link"`
	Why          string   `json:"why"`
	Sites        []string `json:"sites"`
	Missing      []string `json:"missing"`
	RetryAfterMS float64  `json:"retry_after_ms"`
	RequestID    string   `json:"request_id"`
}

func (l language) start() (*runner, error) {
	r := &runner{language: l.name, cmd: exec.Command(local(l.run[0]), l.run[1:]...), ended: make(chan struct{}), waiting: map[int64]chan *answer{}}
	r.cmd.Dir, r.cmd.Stderr = root, &r.log
	r.cmd.WaitDelay = time.Second
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the runner for %s: %w", l.name, err)
	}
	go r.read(out)
	go r.watch()
	return r, nil
}

// watch asks the runner for nothing, again and again, and notes when that takes long:
// it has nothing to do with the SDK.
func (r *runner) watch() {
	for {
		sent := time.Now()
		if _, err := r.ask(context.Background(), map[string]any{"op": "nothing"}); err != nil {
			return // it has ended
		}
		if took := time.Since(sent); took > slowTick/2 {
			r.mu.Lock()
			r.stalls = append(r.stalls, stall{sent.Add(took), took})
			r.mu.Unlock()
		}
		tick := time.NewTimer(200 * time.Millisecond)
		select {
		case <-tick.C:
		case <-r.ended:
		}
		tick.Stop()
	}
}

// stalled is the longest time for which the runner stood still since then.
func (r *runner) stalled(since time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var longest time.Duration
	for _, s := range r.stalls {
		if s.until.After(since) {
			longest = max(longest, s.took)
		}
	}
	return longest
}

func (r *runner) read(out io.Reader) {
	defer close(r.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			fmt.Fprintf(&r.log, "[the suite] a line that is no answer: %.300q: %v\n", lines.Text(), err)
			continue
		}
		r.mu.Lock()
		to := r.waiting[a.ID]
		delete(r.waiting, a.ID)
		r.mu.Unlock()
		if to == nil {
			fmt.Fprintf(&r.log, "[the suite] an answer to nothing: id %d\n", a.ID)
			continue
		}
		to <- &a
	}
}

// ask sends one request and waits for its answer.
func (r *runner) ask(ctx context.Context, request map[string]any) (*answer, error) {
	to := make(chan *answer, 1)
	r.mu.Lock()
	r.next++
	request["id"] = r.next
	line, err := json.Marshal(request)
	if err == nil {
		r.waiting[r.next] = to
		_, err = r.in.Write(append(line, '\n'))
	}
	r.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("writing to the runner: %w; it said:\n%s", err, r.log.String())
	}
	bound := time.NewTimer(answerBound)
	defer bound.Stop()
	select {
	case a := <-to:
		return a, nil
	case <-r.ended:
		return nil, fmt.Errorf("the runner ended instead of answering %q; it said:\n%s", request["op"], r.log.String())
	case <-bound.C:
		return nil, fmt.Errorf("the runner did not answer %q within %v; it said:\n%s", request["op"], answerBound, r.log.String())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stop ends the input; the runner has to end by itself, with 0.
func (r *runner) stop() error {
	r.mu.Lock()
	_ = r.in.Close()
	r.mu.Unlock()
	bound := time.NewTimer(endBound)
	defer bound.Stop()
	var late error
	select {
	case <-r.ended:
	case <-bound.C:
		late = fmt.Errorf("the runner for %s goes on %v after its input ended", r.language, endBound)
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	if err := r.cmd.Wait(); err != nil || late != nil {
		return fmt.Errorf("%w; it said:\n%s", errors.Join(late, err), r.log.String())
	}
	return nil
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

const tailBytes = 8 << 10

// Write implements io.Writer and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// fleet starts a language's shared runner once.
type fleet struct {
	language
	once   sync.Once
	shared *runner
	err    error
}

// sharedRunner starts it with the first scenario that wants it.
func (f *fleet) sharedRunner() (*runner, error) {
	f.once.Do(func() {
		if f.shared, f.err = f.start(); f.err == nil {
			f.err = f.shared.warmUp()
		}
	})
	return f.shared, f.err
}

// warmUp has the runner load its language's gRPC, so that no scenario has to wait for that.
func (r *runner) warmUp() error {
	dir, err := os.MkdirTemp("", "holdfast-conformance-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := errors.Join(issue(dir, "caller", "nobody", nil, time.Hour), issue(dir, "ca", "nobody's CA", nil, time.Hour)); err != nil {
		return err
	}
	nobody, err := newRelay()
	if err != nil {
		return err
	}
	defer nobody.close()
	nobody.set(networkStep{State: "gone"})
	for _, request := range []map[string]any{
		{"op": "dial", "client": "warm", "target": nobody.addr(), "cert": dir + "/caller.crt", "key": dir + "/caller.key", "ca": dir + "/ca.crt"},
		{"op": "source", "client": "warm", "source": "warm", "grant": seedGrant},
		{"op": "token", "source": "warm", "count": 1, "deadline_ms": 5000},
		{"op": "close", "client": "warm"},
	} {
		a, err := r.ask(context.Background(), request)
		if err != nil {
			return err
		}
		if a.Error != nil && request["op"] != "token" {
			return fmt.Errorf("the runner's first %s: %s: %s", request["op"], a.Error.Reason, a.Error.Message)
		}
	}
	return nil
}

// end stops the shared runner.
func (f *fleet) end(t *testing.T) {
	if f.shared == nil {
		return
	}
	if err := f.shared.stop(); err != nil {
		t.Errorf("at the end: %v", err)
	}
}
