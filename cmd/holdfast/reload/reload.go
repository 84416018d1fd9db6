// Package reload owns files that are read again when they change: client
// secrets and TLS certificates. It starts no goroutine: the files are looked
// at when their content is asked for, at most every Interval. Content is
// compared, not times: an orchestrator that swaps a symbolic link changes
// neither size nor time of the file in a way to rely on.
package reload

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Interval between two looks at the files.
const Interval = 2 * time.Second

// Value is what was made of some files. It is safe for concurrent use.
type Value[T any] struct {
	files []string
	parse func(contents [][]byte) (T, error)
	log   *slog.Logger
	now   func() time.Time

	mu       sync.Mutex // guards all below
	contents [][]byte
	value    T
	looked   time.Time
	failing  string
}

// New reads the files and parses them. An error names the file, and what parse said.
func New[T any](log *slog.Logger, parse func(contents [][]byte) (T, error), files ...string) (*Value[T], error) {
	v := &Value[T]{files: files, parse: parse, log: log, now: time.Now}
	contents, err := v.read()
	if err != nil {
		return nil, err
	}
	if v.value, err = parse(contents); err != nil {
		return nil, err
	}
	v.contents, v.looked = contents, v.now()
	return v, nil
}

// Get returns the present value. If the files have changed into something that
// cannot be read or parsed, the last good value stays, and the log says so once:
// a file that is just being replaced must not stop the service.
func (v *Value[T]) Get() T {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := v.now(); now.Sub(v.looked) >= Interval || now.Before(v.looked) {
		v.looked = now
		v.look()
	}
	return v.value
}

// look reads the files again. The caller holds mu.
func (v *Value[T]) look() {
	contents, err := v.read()
	if err == nil {
		if equal(contents, v.contents) {
			v.failing = ""
			return
		}
		var value T
		if value, err = v.parse(contents); err == nil {
			v.value, v.contents, v.failing = value, contents, ""
			v.log.Info("read again after a change", "files", v.files)
			return
		}
	}
	if v.failing != err.Error() {
		v.failing = err.Error()
		v.log.Error("a changed file cannot be used; going on with what it held before", "error", err)
	}
}

func (v *Value[T]) read() ([][]byte, error) {
	contents := make([][]byte, len(v.files))
	for i, f := range v.files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("reading a file: %w", err)
		}
		contents[i] = b
	}
	return contents, nil
}

func equal(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}
