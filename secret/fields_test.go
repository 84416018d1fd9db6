package secret

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretName is what fields and parameters that hold secrets are called. A name
// of something about a secret says so: a hash, a file, an id, an expiry.
var secretName = regexp.MustCompile(`(?i)(refresh|access|bearer|id)_?tokens?$|secrets?$|verifier$|password$|passwd$|cookie$|passphrase$|^code$|authcode$|private_?key$`)

// plainText is where a field or parameter of that kind may be a plain text, and why.
var plainText = map[string]string{
	"broker/atlassian/atlassiansim":      "the simulator's tokens open nothing",
	"cmd/bench":                          "nor do those of the benchmark",
	"e2e":                                "nor those of tests",
	"proto":                              "messages of the contract hold texts; never log one",
	"clients/go/examples":                "shows what a caller does with a token",
	"clients/go/conformance":             "tells its driver which token of a simulator it got",
	"broker/atlassian/classify.go: code": "an error's name, of those that the profile lists",
	"broker/atlassian/profile.go: Code":  "an error's name",
	"broker/family/state.go: Code":       "an error's name",
}

// Every struct field, parameter and result that is called like a secret is one by
// its type, so that no formatter can show it.
func TestWhatIsCalledASecretIsOneByItsType(t *testing.T) {
	root, files := os.DirFS(".."), 0
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "node_modules") {
			return err
		}
		for place := range plainText {
			if strings.HasPrefix(path, place+"/") {
				return nil
			}
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			list, ok := n.(*ast.FieldList)
			if !ok {
				return true
			}
			for _, f := range list.List {
				for _, name := range f.Names {
					_, allowed := plainText[path+": "+name.Name]
					if plain := types.ExprString(f.Type); secretName.MatchString(name.Name) && bare(plain) && !allowed {
						t.Errorf("%s: %s is a %s; make it a secret.String, or say in plainText why not", path, name.Name, plain)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 200 {
		t.Errorf("only %d files were read", files)
	}
}

// bare reports whether a type shows what it holds.
func bare(kind string) bool {
	for _, plain := range []string{"string", "[]byte", "any", "[32]byte", "json.RawMessage"} {
		if strings.HasSuffix(kind, plain) && !strings.HasSuffix(kind, "secret."+plain) {
			return true
		}
	}
	return false
}
