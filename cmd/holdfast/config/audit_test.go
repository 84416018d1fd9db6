package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// withAudit is the whole file with another section for the record, in its lines 41 and on.
func withAudit(section string) []byte {
	return []byte(strings.Replace(whole, "audit:\n  file: audit.log\n", section, 1))
}

func TestTheAuditSectionDecodes(t *testing.T) {
	d := dir(t)
	in := func(name string) string { return filepath.Join(d, name) }
	for name, row := range map[string]struct {
		section string
		want    Audit
	}{
		"all of it": {`audit:
  file: audit.log
  rotate_size: 256MiB
  keep: 30
  keep_for: 2160h
  level: durable
  stdout: true
  otlp: {endpoint: "https://collector.example.com:4317", ca_file: files/ca.crt}
  checkpoint_file: files/checkpoint
  checkpoint_every: 30s
`, Audit{
			File: in("audit.log"), RotateSize: "256MiB", RotateBytes: 256 << 20, Keep: 30, KeepFor: 90 * 24 * time.Hour, Level: "durable", Stdout: true,
			OTLP:           AuditOTLP{Endpoint: "https://collector.example.com:4317", CAFile: in("files/ca.crt")},
			CheckpointFile: in("files/checkpoint"), CheckpointEvery: 30 * time.Second,
		}},
		"standard output alone": {"audit: {stdout: true}\n", Audit{Stdout: true, Level: "written"}},
		"a collector alone":     {"audit: {otlp: {endpoint: \"http://127.0.0.1:4317\"}}\n", Audit{OTLP: AuditOTLP{Endpoint: "http://127.0.0.1:4317"}, Level: "written"}},
		"the least rotation":    {"audit: {file: audit.log, rotate_size: 1024KiB}\n", Audit{File: in("audit.log"), RotateSize: "1024KiB", RotateBytes: 1 << 20, Level: "written"}},
		"the greatest rotation": {"audit: {file: audit.log, rotate_size: 1048576 GiB}\n", Audit{File: in("audit.log"), RotateSize: "1048576 GiB", RotateBytes: 1 << 50, Level: "written"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := Parse(in("holdfast.yaml"), withAudit(row.section))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, c.Audit); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSenselessAuditSettingsAreReportedWithTheirLines(t *testing.T) {
	for name, row := range map[string]struct{ section, want string }{
		"nowhere to":                  {"audit: {}\n", "audit.file: missing; give a file; without a writable record nothing is handed out"},
		"an unknown key":              {"audit:\n  file: audit.log\n  rotate: 1GiB\n", ":43: audit.rotate: unknown key"},
		"an unknown level":            {"audit:\n  file: audit.log\n  level: safe\n", `:43: audit.level: "safe": want one of written, durable`},
		"durable without a file":      {"audit:\n  stdout: true\n  level: durable\n", ":43: audit.level: durable needs audit.file"},
		"a size without a unit":       {"audit:\n  file: audit.log\n  rotate_size: \"1000000\"\n", `:43: audit.rotate_size: "1000000": want a number with a unit, KiB, MiB or GiB`},
		"a size that is none":         {"audit:\n  file: audit.log\n  rotate_size: -3MiB\n", `:43: audit.rotate_size: "-3MiB": want a number`},
		"a size of nothing":           {"audit:\n  file: audit.log\n  rotate_size: 0MiB\n", `:43: audit.rotate_size: "0MiB": want a number`},
		"a size beyond all":           {"audit:\n  file: audit.log\n  rotate_size: 1048577GiB\n", `:43: audit.rotate_size: "1048577GiB": want a number`},
		"a small size":                {"audit:\n  file: audit.log\n  rotate_size: 1023KiB\n", ":43: audit.rotate_size: 1023KiB: want at least 1MiB"},
		"no file to rotate":           {"audit:\n  stdout: true\n  rotate_size: 1MiB\n", ":43: audit.rotate_size: there is no audit.file"},
		"keep without rotation":       {"audit:\n  file: audit.log\n  keep: 3\n", "audit.rotate_size: missing; keep and keep_for are about files that were rotated"},
		"keep_for without rotation":   {"audit:\n  file: audit.log\n  keep_for: 3h\n", "audit.rotate_size: missing; keep and keep_for"},
		"keep a negative number":      {"audit:\n  file: audit.log\n  rotate_size: 1MiB\n  keep: -1\n", ":44: audit.keep: -1: want how many files to keep"},
		"keep for a negative time":    {"audit:\n  file: audit.log\n  rotate_size: 1MiB\n  keep_for: -1h\n", ":44: audit.keep_for: a negative duration"},
		"keep a text":                 {"audit:\n  file: audit.log\n  keep: some\n", ":43: audit.keep: want a whole number"},
		"checkpoints too often":       {"audit:\n  file: audit.log\n  checkpoint_every: 999ms\n", ":43: audit.checkpoint_every: 999ms: want 1s to 24h"},
		"checkpoints too seldom":      {"audit:\n  file: audit.log\n  checkpoint_every: 25h\n", ":43: audit.checkpoint_every: 25h0m0s: want 1s to 24h"},
		"the checkpoint as the file":  {"audit:\n  file: audit.log\n  checkpoint_file: ./audit.log\n", ":43: audit.checkpoint_file: it is audit.file, which it would replace"},
		"a checkpoint into nowhere":   {"audit:\n  file: audit.log\n  checkpoint_file: none/checkpoint\n", ":43: audit.checkpoint_file: the directory"},
		"a file in nowhere":           {"audit:\n  file: none/audit.log\n", ":42: audit.file: the directory"},
		"a directory for a file":      {"audit:\n  file: files\n", "is a directory; want a file"},
		"a collector without scheme":  {"audit:\n  otlp: {endpoint: \"collector.example.com:4317\"}\n", `:42: audit.otlp.endpoint: "collector.example.com:4317": want https://host:port`},
		"a collector without a port":  {"audit:\n  otlp: {endpoint: \"https://collector.example.com\"}\n", `:42: audit.otlp.endpoint: "https://collector.example.com": want https://host:port`},
		"a collector without a host":  {"audit:\n  otlp: {endpoint: \"https://:4317\"}\n", `:42: audit.otlp.endpoint: "https://:4317": want https://host:port`},
		"a collector with a path":     {"audit:\n  otlp: {endpoint: \"https://collector.example.com:4317/v1/logs\"}\n", `want https://host:port`},
		"a collector with a user":     {"audit:\n  otlp: {endpoint: \"https://me:hunter2@collector.example.com:4317\"}\n", `: want https://host:port`},
		"a CA and no collector":       {"audit:\n  file: audit.log\n  otlp: {ca_file: files/ca.crt}\n", "audit.otlp.endpoint: missing; give the collector's URL"},
		"a CA for what is in clear":   {"audit:\n  otlp: {endpoint: \"http://127.0.0.1:4317\", ca_file: files/ca.crt}\n", ":42: audit.otlp.ca_file: the endpoint is http"},
		"a CA that is not there":      {"audit:\n  otlp: {endpoint: \"https://127.0.0.1:4317\", ca_file: files/none}\n", ":42: audit.otlp.ca_file: "},
		"standard output as a number": {"audit:\n  stdout: 1\n", ":42: audit.stdout: want true or false"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), withAudit(row.section))
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("want a problem with\n  %s\ngot\n  %v", row.want, err)
			}
		})
	}
}

func TestACollectorInTheClearIsAWarning(t *testing.T) {
	_, warnings, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), withAudit("audit: {file: audit.log, otlp: {endpoint: \"http://127.0.0.1:4317\"}}\n"))
	if err != nil || len(warnings) == 0 || !strings.Contains(warnings[0].String(), "audit.otlp.endpoint: the audit record leaves this machine unencrypted") {
		t.Fatalf("%v, %v", warnings, err)
	}
}
