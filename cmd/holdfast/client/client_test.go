package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ADDR", "CA", "CERT", "KEY", "TOKEN_FILE", "SERVER_NAME", "DIR"} {
		t.Setenv("HOLDFAST_"+name, "")
	}
}

func TestSettingsComeFromDevModeFoundUpwards(t *testing.T) {
	clearEnv(t)
	root := t.TempDir()
	dev := filepath.Join(root, DevDir)
	below := filepath.Join(root, "a", "b")
	for _, d := range []string{dev, below} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Settings{Addr: "127.0.0.1:1", CA: "ca.crt", Cert: "c.crt", Key: "c.key"}).WriteDev(dev); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	var s Settings
	if err := s.Resolve(); err != nil {
		t.Fatal(err)
	}
	want := Settings{Addr: "127.0.0.1:1", CA: filepath.Join(dev, "ca.crt"), Cert: filepath.Join(dev, "c.crt"), Key: filepath.Join(dev, "c.key")}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func TestFlagsBeatTheEnvironmentAndNeverMixWithDevMode(t *testing.T) {
	clearEnv(t)
	t.Chdir(t.TempDir())
	t.Setenv("HOLDFAST_ADDR", "env:1")
	t.Setenv("HOLDFAST_CERT", "env.crt")
	s := Settings{Addr: "flag:1", Key: "flag.key"}
	if err := s.Resolve(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Settings{Addr: "flag:1", Cert: "env.crt", Key: "flag.key"}, s); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	half := Settings{Addr: "flag:1"}
	t.Setenv("HOLDFAST_CERT", "")
	if err := half.Resolve(); err == nil || !strings.Contains(err.Error(), "Missing: --cert, --key") {
		t.Fatalf("an address alone: %v", err)
	}
	token := Settings{Addr: "flag:1", TokenFile: "token"}
	if err := token.Resolve(); err != nil {
		t.Fatalf("an address and a token: %v", err)
	}
	both := Settings{Addr: "flag:1", Cert: "c", Key: "k", TokenFile: "token"}
	if err := both.Resolve(); err == nil || !strings.Contains(err.Error(), "two identities") {
		t.Fatalf("a certificate and a token: %v", err)
	}
	var none Settings
	t.Setenv("HOLDFAST_ADDR", "")
	if err := none.Resolve(); err == nil || !strings.Contains(err.Error(), "which broker?") {
		t.Fatalf("nothing at all: %v", err)
	}
}

func failed(t *testing.T, code codes.Code, message string, details ...protoadapt.MessageV1) error {
	t.Helper()
	st, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestFailuresSayWhatWasWrongAndWhatNext(t *testing.T) {
	info := func(reason string, kv ...string) *errdetails.ErrorInfo {
		m := map[string]string{"request_id": "r1"}
		for i := 0; i+1 < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return &errdetails.ErrorInfo{Domain: "holdfast", Reason: reason, Metadata: m}
	}
	rows := []struct {
		name string
		err  error
		exit int
		want []string
	}{
		{
			"a consent is required", failed(t, codes.FailedPrecondition, "no live family", info("CONSENT_REQUIRED", "why", "REFUSED", "link", "https://x/c")), ExitRefused,
			[]string{"CONSENT_REQUIRED: no live family", "why:         REFUSED", "open:        https://x/c", "request id:  r1", "next:        send a person to the link"},
		},
		{
			"come back later", failed(t, codes.Unavailable, "brown-out", info("PROVIDER_UNAVAILABLE"), &errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)}), ExitUnavailable,
			[]string{"PROVIDER_UNAVAILABLE: brown-out", "retry after: 2s", "next:        try again later"},
		},
		{
			"a wrong field", failed(t, codes.InvalidArgument, "bad", info("INVALID_REQUEST"), &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "min_ttl", Description: "at most 10m"}}}), ExitUsage,
			[]string{"field:       min_ttl: at most 10m"},
		},
		{
			"a wrong field that the message names", failed(t, codes.InvalidArgument, "min_ttl: at most 10m", info("INVALID_REQUEST"), &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "min_ttl", Description: "at most 10m"}}}), ExitUsage,
			[]string{"field:       min_ttl\n"},
		},
		{"quarantined", failed(t, codes.FailedPrecondition, "x", info("GRANT_QUARANTINED")), ExitRefused, []string{"holdfast status", "holdfast grants adopt or scrub", "holdfast grants reauth ADDRESS"}},
		{"paused", failed(t, codes.FailedPrecondition, "x", info("APP_PAUSED")), ExitRefused, []string{"holdfast apps list", "holdfast doctor"}},
		{"no audit", failed(t, codes.Unavailable, "x", info("AUDIT_UNAVAILABLE")), ExitUnavailable, []string{"the broker's log", "/readyz"}},
		{"no store", failed(t, codes.Unavailable, "x", info("STORE_UNAVAILABLE")), ExitUnavailable, []string{"try again later", "holdfast status"}},
		{"no such scope", failed(t, codes.FailedPrecondition, "x", info("SCOPE_NOT_GRANTED")), ExitRefused, []string{"consent start ADDRESS --scope SCOPE", "apps[].scopes"}},
		{"nobody there", status.Error(codes.Unavailable, "connection refused"), ExitUnavailable, []string{"the broker cannot be reached: connection refused", "--ca", "--server-name", "--cert", "holdfast dev"}},
		{"too slow", status.Error(codes.DeadlineExceeded, "x"), ExitUnavailable, []string{"did not answer in time", "--timeout"}},
		{"broken", failed(t, codes.Internal, "internal error", info("INTERNAL")), ExitInternal, []string{"report it with the request id"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, ok := Explain(row.err)
			if !ok || f.ExitCode() != row.exit {
				t.Fatalf("ok %v, exit code %d, want %d", ok, f.ExitCode(), row.exit)
			}
			for _, want := range row.want {
				if !strings.Contains(f.String(), want) {
					t.Errorf("no %q in\n%s", want, f)
				}
			}
		})
	}
}

// A reason that is added to the contract must not be left without a next step.
func TestEveryReasonHasANextStep(t *testing.T) {
	for number, name := range holdfastv1.ErrorReason_name {
		reason := strings.TrimPrefix(name, "ERROR_REASON_")
		if number != 0 && (Failure{Reason: reason}).next() == "" {
			t.Errorf("%s has no next step", reason)
		}
	}
}
