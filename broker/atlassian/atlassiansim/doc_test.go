package atlassiansim

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docLine matches a documented call: method, path or $S, and body.
var docLine = regexp.MustCompile(`(?m)^//\t(?:(\$S)|curl -s (?:-X (\w+) )?\$SIM(/_sim/[^ ;\n]*))(?: -d ['"](\{.*\})['"])?`)

// TestTheDocumentedLinesWork calls what the package comment shows, in its order.
func TestTheDocumentedLinesWork(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.consent()
	fill := strings.NewReplacer("$ACCOUNT", DefaultAccounts()[0].ID, "$CLOUD_ID", DefaultSites()[0].CloudID, "$ID", jiraID, `\"`, `"`)
	lines := docLine.FindAllStringSubmatch(string(doc), -1)
	switches := map[string]bool{}
	for _, l := range lines {
		method, path, body := l[2], fill.Replace(l[3]), fill.Replace(l[4])
		switch {
		case l[1] != "":
			method, path = "PATCH", "/_sim/behaviour"
			var named map[string]any
			if err := json.Unmarshal([]byte(body), &named); err != nil {
				t.Errorf("%s: %v", body, err)
			}
			for field := range named {
				switches[field] = true
			}
		case method == "" && body != "":
			method = "POST"
		case method == "":
			method = "GET"
		}
		if r := b.request(method, path, "", body); r.status != 200 {
			t.Errorf("%s %s %s: %d %s", method, path, body, r.status, r.body)
		}
	}
	if len(lines) < 50 {
		t.Errorf("only %d lines found", len(lines))
	}
	fields := reflect.TypeFor[Behaviour]()
	for i := range fields.NumField() {
		if name := fields.Field(i).Tag.Get("json"); !switches[name] {
			t.Errorf("the switch %s has no line", name)
		}
	}
}
