package holdfast_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/holdfast-io/holdfast"
)

// packages of the SDKs, and where each names its version. Go has none: the tag is it.
var packages = []struct {
	file    string
	version string // with one group
}{
	{"clients/typescript/package.json", `(?m)^  "version": "([^"]*)"`},
	{"clients/typescript/package-lock.json", `(?m)^  "version": "([^"]*)"`},
	{"clients/python/pyproject.toml", `(?m)^version = "([^"]*)"`},
	{"clients/python/README.md", `dist/holdfast_client-([^-]*)-py3`},
	{"clients/java/pom.xml", `(?s)<artifactId>holdfast-client</artifactId>.*?<version>([^<]*)</version>`},
	{"clients/java/README.md", `(?s)<artifactId>holdfast-client</artifactId>\s*<version>([^<]*)</version>`},
}

func TestVersionIsOne(t *testing.T) {
	if !regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`).MatchString(holdfast.Version()) {
		t.Fatalf("VERSION is %q, want one like 1.2.3 or 1.2.3-rc.1", holdfast.Version())
	}
	for _, p := range packages {
		content, err := os.ReadFile(p.file)
		if err != nil {
			t.Error(err)
			continue
		}
		m := regexp.MustCompile(p.version).FindSubmatch(content)
		if m == nil {
			t.Errorf("%s names no version where this test looks for it: %s", p.file, p.version)
			continue
		}
		if got := string(m[1]); got != holdfast.Version() {
			t.Errorf("%s is version %s, and VERSION says %s: the SDKs and the server are released together", p.file, got, holdfast.Version())
		}
	}
}
