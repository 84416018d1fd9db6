package holdfast_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheContractHasOnePlace: the rules of requests are the broker's business, and a
// second copy of the contract would be another one some day. What the client for Go
// links is held in clients/go.
func TestTheContractHasOnePlace(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-co", "--exclude-standard", "-z", "clients").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(files) < 100 {
		t.Fatalf("only %d files below clients", len(files))
	}
	rules := regexp.MustCompile(`(?i)protovalidate|buf[./]validate`)
	for _, file := range files {
		switch {
		case strings.HasSuffix(file, ".proto"):
			t.Errorf("%s: the contract is in proto/, and the SDKs' stubs are made from that", file)
		case strings.HasPrefix(file, "clients/go/"), strings.HasSuffix(filepath.Base(file), ".gen.yaml"): // the latter leave the rules out
		default:
			content, err := os.ReadFile(file)
			if err != nil {
				t.Error(err)
			} else if at := rules.Find(bytes.TrimSpace(content)); at != nil {
				t.Errorf("%s names %s: clients do not validate", file, at)
			}
		}
	}
}
