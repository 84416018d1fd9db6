package identity

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readers are the files outside of this package that may touch what identities
// come from, and why.
var readers = map[string][]string{
	"FromContext":              {"broker/rpc/admit.go", "broker/rpc/header.go"}, // the peer: hands over, reads nothing
	"ValueFromIncomingContext": {"broker/rpc/admit.go", "broker/rpc/call.go"},   // hands over the header; the request id
	"InTapHandle":              {"broker/rpc/server.go"},
}

// Nothing else in the product reads certificates of clients or the headers that
// carry tokens: a second reader could come to another opinion of who calls.
func TestNothingElseReadsCertificatesOrHeaders(t *testing.T) {
	forbidden := []string{"PeerCertificates", "VerifiedChains", "FromIncomingContext", "ValueFromIncomingContext", "InTapHandle", "ExtractIncoming"}
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if d.IsDir() {
			if rel != path && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") || rel == "broker/identity" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "e2e/") {
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			from, _ := s.X.(*ast.Ident)
			peer := from != nil && from.Name == "peer" && s.Sel.Name == "FromContext"
			if (peer || slices.Contains(forbidden, s.Sel.Name)) && !slices.Contains(readers[s.Sel.Name], rel) {
				t.Errorf("%s uses %s: who calls is found in broker/identity alone; take the caller from there", rel, s.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("only %d files were looked at", files)
	}
}
