package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnOldTokenIsNotTakenForTheNewOne(t *testing.T) {
	base := []string{"PATH=/bin", "JOB_ACCESS_TOKEN=old", "JOB_ACCESS_TOKEN_FILE=/old", "JOB_CLOUD_ID=old", "JOB_ADDR=kept", "OTHER_ACCESS_TOKEN=kept"}
	token := &holdfastv1.GetAccessTokenResponse{AccessToken: "new", Generation: 7, GrantId: "grt_x", ExpiresAt: timestamppb.New(time.Unix(1e9, 0))}
	want := []string{
		"PATH=/bin", "JOB_ADDR=kept", "OTHER_ACCESS_TOKEN=kept",
		"JOB_ACCESS_TOKEN=new", "JOB_EXPIRES_AT=2001-09-09T01:46:40Z", "JOB_GENERATION=7", "JOB_GRANT_ID=grt_x",
	}
	if diff := cmp.Diff(want, Environment(base, "JOB", Variables("JOB", token, ""))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	withFile := strings.Join(Environment(base, "JOB", Variables("JOB", token, "/f")), " ")
	if !strings.Contains(withFile, "JOB_ACCESS_TOKEN_FILE=/f") || strings.Contains(withFile, "new") || strings.Contains(withFile, "old") {
		t.Errorf("with a file: %s", withFile)
	}
}

// FuzzExportsSetVariablesAndDoNothingElse gives any value to a real shell.
func FuzzExportsSetVariablesAndDoNothingElse(f *testing.F) {
	for _, seed := range []string{"", "plain", "a'b", `a\'b`, "$(touch ran)", "`touch ran`", "a\nexit 9\n", "\"; exit 9; '", "'", "''", "\\", "a\x00b", "-n", "\xff\xfe", "!x", "~", "*"} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, value string) {
		if len(value) > 100_000 {
			return
		}
		sh := exec.CommandContext(t.Context(), "sh", "-c", `eval "$TEXT" && printf %s. "$JOB_X" && exec env`)
		sh.Dir, sh.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "TEXT=" + Exports([]Variable{{"JOB_X", value}, {"JOB_Y", "1"}})}
		out, err := sh.CombinedOutput()
		if want := strings.ReplaceAll(value, "\x00", "") + "."; err != nil || !strings.HasPrefix(string(out), want) || !strings.Contains(string(out), "JOB_Y=1") {
			t.Fatalf("%q became %q, error %v", value, out, err)
		}
		if _, err := os.Stat(dir + "/ran"); err == nil {
			t.Fatalf("%q ran a command", value)
		}
	})
}

// fakeBroker hands out tokens of ten minutes, to be renewed after eight, or fails.
type fakeBroker struct {
	mu    sync.Mutex
	err   error // guarded by mu
	calls int   // guarded by mu
}

func (b *fakeBroker) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *fakeBroker) fetch(context.Context) (*holdfastv1.GetAccessTokenResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.err != nil {
		return nil, b.err
	}
	server := time.Now().Add(-48 * time.Hour) // another clock
	return &holdfastv1.GetAccessTokenResponse{
		AccessToken: "token-" + string(rune('0'+b.calls)), ServerTime: timestamppb.New(server),
		RefreshAfter: timestamppb.New(server.Add(8 * time.Minute)), ExpiresAt: timestamppb.New(server.Add(10 * time.Minute)),
	}, nil
}

// keeping begins to keep a file; content reads it.
func keeping(t *testing.T, b *fakeBroker) (content func() string, notes *[]string, stop func()) {
	t.Helper()
	f, err := NewFile()
	if err != nil {
		t.Fatal(err)
	}
	sent := time.Now()
	first, err := b.fetch(t.Context())
	if err = errors.Join(err, f.Write(first)); err != nil {
		t.Fatal(err)
	}
	notes = new([]string)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Keep(ctx, first, sent, b.fetch, func(format string, args ...any) { *notes = append(*notes, fmt.Sprintf(format, args...)) })
	}()
	content = func() string {
		synctest.Wait()
		text, err := os.ReadFile(f.Path())
		if errors.Is(err, os.ErrNotExist) {
			return "none"
		}
		return string(text)
	}
	return content, notes, func() {
		cancel()
		<-done
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(f.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind", f.dir)
		}
	}
}

func TestTheFileHoldsATokenThatIsGood(t *testing.T) {
	for name, row := range map[string]struct {
		err error
		// what the file holds after 1, 9, 11 and 25 minutes; the broker fails from the
		// seventh to the twentieth.
		want  [4]string
		notes int
	}{
		"all is well":        {nil, [4]string{"token-1", "token-2", "token-2", "token-4"}, 0},
		"the broker is away": {status.Error(codes.Unavailable, "away"), [4]string{"token-1", "token-1", "none", "token"}, 1},
		"consent required":   {status.Error(codes.FailedPrecondition, "consent"), [4]string{"token-1", "none", "none", "token"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			// The environment can not be set within the bubble.
			t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				b := &fakeBroker{}
				content, notes, stop := keeping(t, b)
				defer stop()
				began := time.Now()
				at := func(minutes int) { <-time.After(time.Until(began.Add(time.Duration(minutes) * time.Minute))) }
				for i, minute := range []int{1, 9, 11, 25} {
					switch minute {
					case 9:
						at(7)
						b.fail(row.err)
					case 25:
						at(20)
						b.fail(nil)
					}
					at(minute)
					if got := content(); got != row.want[i] && (row.want[i] != "token" || !strings.HasPrefix(got, "token-")) {
						t.Errorf("after %d minutes: %s, want %s", minute, got, row.want[i])
					}
				}
				if len(*notes) != row.notes {
					t.Errorf("notes %q, want %d", *notes, row.notes)
				}
			})
		})
	}
}

// Whoever reads the job's log has to learn what to do, as from every other command.
func TestARefusalIsNotedWithItsLink(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	refusal, err := status.New(codes.FailedPrecondition, "a new consent is needed").WithDetails(&errdetails.ErrorInfo{
		Domain: "holdfast", Reason: "CONSENT_REQUIRED", Metadata: map[string]string{"link": "https://holdfast.example.com/connect/x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBroker{}
		_, notes, stop := keeping(t, b)
		b.fail(refusal.Err())
		<-time.After(9 * time.Minute)
		stop()
		text := strings.Join(*notes, "\n")
		for _, want := range []string{"CONSENT_REQUIRED: a new consent is needed", "https://holdfast.example.com/connect/x"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in the note %q", want, text)
			}
		}
	})
}
