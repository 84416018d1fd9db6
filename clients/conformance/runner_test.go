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

// build makes the language's runner.
func (l language) prepare() error {
	for _, command := range [][]string{l.build, l.run} {
		if strings.HasPrefix(command[0], "clients/") {
			if _, err := os.Stat(filepath.Join(root, command[0])); err != nil {
				return fmt.Errorf("the SDK for %s is not there to be tested: %s is missing", l.name, command[0])
			}
		}
	}
	cmd := exec.Command(l.build[0], l.build[1:]...)
	if cmd.Dir = root; strings.HasPrefix(l.build[0], "clients/") {
		cmd.Path = filepath.Join(root, l.build[0])
		cmd.Dir = root
		cmd = exec.Command("./"+l.build[0], l.build[1:]...)
		cmd.Dir = root
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the runner for %s by %q: %w\n%s", l.name, strings.Join(l.build, " "), err, out)
	}
	return nil
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
	command := l.run[0]
	if strings.HasPrefix(command, "clients/") {
		command = "./" + command
	}
	r := &runner{language: l.name, cmd: exec.Command(command, l.run[1:]...), ended: make(chan struct{}), waiting: map[int64]chan *answer{}}
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
	return r, nil
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

func (f *fleet) sharedRunner() (*runner, error) {
	f.once.Do(func() { f.shared, f.err = f.start() })
	return f.shared, f.err
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
