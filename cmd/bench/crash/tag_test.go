package crash

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
)

func TestOnlyTheTaggedProgramCanBeToldToDie(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		binary string
		want   bool
	}{{build(t).Released, false}, {build(t).Tagged, true}} {
		program, err := os.ReadFile(row.binary)
		if err != nil {
			t.Fatal(err)
		}
		for _, variable := range []string{"HOLDFAST_CRASHPOINT", "HOLDFAST_STOPPOINT", "HOLDFAST_PANIC"} {
			if bytes.Contains(program, []byte(variable)) != row.want {
				t.Errorf("%s in %s: want %v", variable, row.binary, row.want)
			}
		}
	}
}

func TestAPointThatThereIsNotEndsTheStartAndListsThoseThatThereAre(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"HOLDFAST_CRASHPOINT=spend.nowhere", "HOLDFAST_STOPPOINT=spend.guard:0"} {
		cmd := exec.CommandContext(t.Context(), build(t).Tagged, "--version")
		cmd.Env = append(cmd.Environ(), setting)
		out, err := cmd.CombinedOutput()
		variable, _, _ := strings.Cut(setting, "=")
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), variable) {
			t.Errorf("%s: %v: %s", setting, err, out)
		}
		for _, p := range crashpoint.Points() {
			if strings.Contains(setting, "nowhere") && !strings.Contains(string(out), p.Name) {
				t.Errorf("%s: the message does not list %s: %s", setting, p.Name, out)
			}
		}
	}
}
