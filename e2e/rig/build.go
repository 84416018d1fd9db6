package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module of the product, wherever the tests that use this package live.
const module = "github.com/holdfast-io/holdfast"

var builds struct {
	mu  sync.Mutex // guards what follows, and that a binary is built once
	dir string
	by  map[Build]string // paths
}

// Main runs a package's tests and removes the binaries that they built.
func Main(m *testing.M) {
	code := m.Run()
	builds.mu.Lock()
	_ = os.RemoveAll(builds.dir) // "" if nothing was built, which removes nothing
	builds.mu.Unlock()
	os.Exit(code)
}

// Build is how the real binary is built.
type Build struct {
	// Plain leaves out the race detector, with which the binary takes ten times as
	// long to check the store of a process that was killed. A race fails the test
	// in which it happened, so the zero value has it.
	Plain bool
	// Tags, separated by commas; "": as it is released.
	Tags string
}

// Binary builds the real binary, once for all tests of a process, and returns its path.
func Binary(t testing.TB, how Build) string {
	t.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if path, built := builds.by[how]; built {
		return path
	}
	path, err := build(how)
	if err != nil {
		t.Fatal(err)
	}
	if builds.by == nil {
		builds.by = map[Build]string{}
	}
	builds.by[how] = path
	return path
}

func build(how Build) (string, error) {
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "holdfast-e2e-")
		if err != nil {
			return "", err
		}
		builds.dir = dir
	}
	// In another module's tests the product lies elsewhere, with dependencies of its own.
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("looking for the module %s: %w", module, withStderr(err))
	}
	path := filepath.Join(builds.dir, fmt.Sprintf("holdfast-%d", len(builds.by)))
	cmd := exec.Command("go", "build", fmt.Sprintf("-race=%t", !how.Plain), "-tags", how.Tags, "-o", path, "./cmd/holdfast")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building cmd/holdfast: %w\n%s", err, out)
	}
	return path, nil
}

func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return err
}
