package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast"
)

// version of this build: the release, and for a build of any other commit than the
// release's the commit behind a "+", as in "0.1.0+59493c5a1b2c.dirty".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return holdfast.Version()
	}
	return versionOf(holdfast.Version(), info)
}

func versionOf(release string, info *debug.BuildInfo) string {
	if info.Main.Version == "v"+release {
		return release
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ".dirty"
		}
	}
	if revision == "" { // no checkout, e.g. a test or an archive of the sources
		return release
	}
	return release + "+" + revision[:min(len(revision), 12)] + dirty
}

func newVersion(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  none,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(io.out, versionLine())
			return err
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("holdfast %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
