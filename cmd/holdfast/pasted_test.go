package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPrintedCommandsWorkAsPasted runs each command that dev mode prints by a
// shell in the root of the repository, as a new user would. The one with
// grpcurl needs the Go module proxy the first time.
func TestPrintedCommandsWorkAsPasted(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	commands := printed(t, startDev(t, root))
	if len(commands) != 3 {
		t.Fatalf("dev mode prints %d commands, want 3: %q", len(commands), commands)
	}
	rows := []struct {
		name, part string
		check      func(out string) bool
	}{
		{"token get", "token get", func(out string) bool { return strings.Count(out, ".") == 2 && strings.Count(out, "\n") == 1 }},
		{"grpcurl", "grpcurl@v1.9.4", func(out string) bool { return field(out, "accessToken") != "" && field(out, "grantId") != "" }},
		{"simulated Jira", "curl -sS", func(out string) bool { return field(out, "displayName") == "Acme Automation" }},
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if !strings.Contains(commands[i], row.part) {
				t.Fatalf("command %d is %q, want one with %q", i+1, commands[i], row.part)
			}
			shell := exec.CommandContext(t.Context(), "sh", "-c", commands[i])
			shell.Dir = root
			var problems strings.Builder
			shell.Stderr = &problems
			out, err := shell.Output()
			if err != nil || !row.check(string(out)) {
				t.Fatalf("%s\nended with %v and printed %d bytes\n%s", commands[i], err, len(out), &problems)
			}
		})
	}
}

// startDev runs dev mode as a process, ends it by SIGTERM after the test, and
// returns what it printed until it was ready.
func startDev(t *testing.T, root string) string {
	t.Helper()
	// This very binary is the program, see TestMain; the name decides.
	link := filepath.Join(t.TempDir(), "holdfast")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	dev := exec.Command(link, "dev", "--dir", filepath.Join(t.TempDir(), "it's data"),
		"--grpc-port", "0", "--http-port", "0", "--metrics-port", "0", "--sim-port", "0")
	dev.Dir, dev.Stderr = root, os.Stderr
	out, err := dev.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C ends it") {
		text.WriteString(lines.Text() + "\n")
	}
	t.Cleanup(func() {
		if err := dev.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, out) // until it ends; Wait says how
		if err := dev.Wait(); err != nil {
			t.Errorf("dev mode after SIGTERM: %v, want exit code 0", err)
		}
	})
	return text.String()
}

// printed returns the command below each "# ..." line.
func printed(t *testing.T, text string) []string {
	t.Helper()
	var commands []string
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "  # ") {
			commands = append(commands, strings.TrimSpace(lines[i+1]))
		}
	}
	return commands
}

func field(out, name string) string {
	var m map[string]any
	if json.Unmarshal([]byte(out), &m) != nil {
		return ""
	}
	s, _ := m[name].(string)
	return s
}
