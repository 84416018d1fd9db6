package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// budget of rotations that a broken product may take to be found out.
const budget = "6000"

// marker is what the simulation prints about a broken invariant.
const marker = "SIMULATION FAILED"

// bound of one mutant, compiler included; ample, for machines that do other work.
const bound = 8 * time.Minute

func TestTheSimulationPassesUnbroken(t *testing.T) {
	t.Parallel()
	if out, err := play(t, build(t, nil)); err != nil {
		t.Fatalf("the product as it is fails with the mutants' budget: %v\n%s", err, tail(out))
	}
}

func TestEachBrokenInvariantIsFoundOut(t *testing.T) {
	for _, m := range table {
		t.Run(fmt.Sprintf("invariant %d/%s", m.invariant, m.name), func(t *testing.T) {
			t.Parallel()
			out, err := play(t, build(t, &m))
			if err == nil {
				t.Fatalf("the simulation passes although the product %s", m.name)
			}
			i := strings.Index(out, marker)
			if i < 0 {
				t.Fatalf("it ended without a finding of its own: %v\n%s", err, tail(out))
			}
			line, _, _ := strings.Cut(out[i:], "\n")
			t.Log(line)
		})
	}
}

func TestEachBrokenInvariantIsFoundOutByItsTest(t *testing.T) {
	for _, m := range proven {
		t.Run(fmt.Sprintf("invariant %d/%s", m.invariant, m.name), func(t *testing.T) {
			t.Parallel()
			root, err := filepath.Abs("../../..")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			defer cancel()
			cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "^"+m.test+"$", "-overlay", overlay(t, root, t.TempDir(), &m.mutant), m.in)
			cmd.Dir = root
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("%s passes, or is not there, although the product %s\n%s", m.test, m.name, out)
			}
			if !strings.Contains(string(out), "--- FAIL: "+m.test) {
				t.Fatalf("it ended without a finding of its own: %v\n%s", err, tail(string(out)))
			}
		})
	}
}

// build compiles the simulation over the mutant; nil: over the product as it is.
func build(t *testing.T, m *mutant) (binary string) {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary = filepath.Join(dir, "simulation.test")
	args := []string{"test", "-c", "-ldflags", "-s -w", "-o", binary}
	if m != nil {
		args = append(args, "-overlay", overlay(t, root, dir, m))
	}
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append(args, "./broker/simulation")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not compile: %v\n%s", err, out)
	}
	return binary
}

// overlay writes the broken copy of the file and what tells the compiler to use it.
func overlay(t *testing.T, root, dir string, m *mutant) string {
	t.Helper()
	path := filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has the text %q %d times, want once: the mutant must follow the code", m.file, m.old, n)
	}
	broken := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: broken}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func play(t *testing.T, binary string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run=^TestSimulation$", "-rotations="+budget)
	cmd.Dir = filepath.Dir(binary)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tail of an output, for a message.
func tail(out string) string { return out[max(0, len(out)-4000):] }
