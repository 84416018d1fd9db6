package main

import (
	"runtime/debug"
	"testing"
)

func TestVersionOfABuild(t *testing.T) {
	const revision = "59493c5a1b2c3d4e5f60718293a4b5c6d7e8f901"
	for name, c := range map[string]struct {
		module string
		vcs    []debug.BuildSetting
		want   string
	}{
		"of the release":        {"v0.1.0", []debug.BuildSetting{{Key: "vcs.revision", Value: revision}}, "0.1.0"},
		"of a later commit":     {"v0.1.1-0.20261123100000-59493c5a1b2c", []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: "false"}}, "0.1.0+59493c5a1b2c"},
		"of changed files":      {"v0.1.0+dirty", []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: "true"}}, "0.1.0+59493c5a1b2c.dirty"},
		"outside of a checkout": {"(devel)", nil, "0.1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			info := &debug.BuildInfo{Main: debug.Module{Version: c.module}, Settings: c.vcs}
			if got := versionOf("0.1.0", info); got != c.want {
				t.Errorf("versionOf() = %q, want %q", got, c.want)
			}
		})
	}
}
