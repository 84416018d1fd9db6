package crash

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Binaries are the programs of a run.
type Binaries struct {
	// Released is what scripts/build.sh builds; Tagged has the crash points.
	Released, Tagged string
}

// Build builds both programs below dir out of the module that the working
// directory is in. Minutes from an empty build cache, otherwise seconds.
func Build(ctx context.Context, dir string) (Binaries, error) {
	b := Binaries{Released: filepath.Join(dir, "holdfast"), Tagged: filepath.Join(dir, "holdfast-crashpoints")}
	if err := goBuild(ctx, b.Released); err != nil {
		return b, err
	}
	return b, goBuild(ctx, b.Tagged, "-tags", "crashpoints")
}

// BuildReleased builds what scripts/build.sh builds into the file out.
func BuildReleased(ctx context.Context, out string) error { return goBuild(ctx, out) }

// goBuild builds cmd/holdfast with the flags of a release and some more.
func goBuild(ctx context.Context, out string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/holdfast-io/holdfast/cmd/holdfast")...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building cmd/holdfast %v: %w\n%s", flags, err, text)
	}
	return nil
}
