package holdfast

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestWhoImportsTheClientGetsNothingOfTheServer lists all that a program links for
// the client. Each entry is a path with everything below it.
func TestWhoImportsTheClientGetsNothingOfTheServer(t *testing.T) {
	allowed := []string{
		"github.com/holdfast-io/holdfast/clients/go",
		"github.com/holdfast-io/holdfast/internal/unreached", // words alone, of the standard library
		"github.com/holdfast-io/holdfast/proto/holdfast/v1",
		"google.golang.org/grpc",
		"google.golang.org/protobuf",
		"golang.org/x/oauth2",
		// What those three need.
		"google.golang.org/genproto/googleapis/rpc",
		"golang.org/x/net",
		"golang.org/x/sys",
		"golang.org/x/text",
		// The options in the contract's descriptor: messages and no code, on protobuf alone.
		"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate",
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".", "./holdfasttest").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	used := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		at := slices.IndexFunc(allowed, func(a string) bool { return path == a || strings.HasPrefix(path, a+"/") })
		if at < 0 {
			t.Errorf("a program that imports the client links %s", path)
			continue
		}
		used[allowed[at]] = true
	}
	for _, a := range allowed {
		if !used[a] {
			t.Errorf("nothing of %s is linked any more: take it off the list", a)
		}
	}
}
