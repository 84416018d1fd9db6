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

// Which broker is used must not depend on where somebody stands without them knowing.
func TestTheEnvironmentGoesBeforeDevModeAndAFlagBeforeBoth(t *testing.T) {
	clearEnv(t)
	root := t.TempDir()
	dev := filepath.Join(root, DevDir)
	if err := os.Mkdir(dev, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (Settings{Addr: "dev:1", CA: "ca.crt", Cert: "c.crt", Key: "c.key"}).WriteDev(dev); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	t.Setenv("HOLDFAST_CERT", "c")
	t.Setenv("HOLDFAST_KEY", "k")
	for _, row := range []struct {
		name, env        string
		flags            Settings
		addr, dir, wrong string
	}{
		{"the environment, beside another dev mode", "prod:1", Settings{}, "prod:1", dev, ""},
		{"the environment, which is that dev mode", "dev:1", Settings{}, "dev:1", "", ""},
		{"a flag beside it", "prod:1", Settings{Addr: "flag:1"}, "flag:1", "", ""},
		{"the flag of dev mode", "prod:1", Settings{Dir: dev}, "dev:1", "", ""},
		{"two flags", "", Settings{Dir: dev, Addr: "flag:1"}, "", "", "without --dir"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("HOLDFAST_ADDR", row.env)
			s := row.flags
			err := s.Resolve()
			if row.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), row.wrong) {
					t.Fatalf("got %v, want an error with %q", err, row.wrong)
				}
				return
			}
			if err != nil || s.Addr != row.addr || s.Instead != row.dir {
				t.Errorf("%v, address %s instead of %q; want %s instead of %q", err, s.Addr, s.Instead, row.addr, row.dir)
			}
		})
	}
}

func TestAnAddressThatLeadsNowhereIsAMistakeOfTheCaller(t *testing.T) {
	for _, addr := range []string{"https://broker:7443", "http://broker", "broker", "broker:", ":7443", "broker:0", "broker:7443/x", "::1:7443"} {
		s := Settings{Addr: addr, Cert: "absent.crt", Key: "absent.key"}
		if _, err := s.Dial(); err == nil || !strings.Contains(err.Error(), "want host:port") {
			t.Errorf("%s: got %v, want an error that says what to write", addr, err)
		}
	}
	for _, addr := range []string{"broker:7443", "[::1]:1", "dns:///broker:7443"} {
		if err := checkAddr(addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
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

func TestWhatTheHeadlineHasSaidIsNoNextStep(t *testing.T) {
	for _, f := range []Failure{
		{Code: codes.FailedPrecondition, Reason: "CONSENT_REQUIRED", Message: "a/b/c needs a new consent (REFUSED): send a person to the link"},
		{Code: codes.FailedPrecondition, Reason: "GRANT_REVOKED", Message: "a/b/c was revoked by an operator, who can allow a new consent with `holdfast grants reauth`"},
		{Code: codes.PermissionDenied, Reason: "CALLER_NOT_ALLOWED", Message: "no configured caller is \"x\"; ask an operator to list it under callers"},
		{Code: codes.Unavailable, Reason: "PROVIDER_UNAVAILABLE", Message: "it does not answer; try again later"},
	} {
		if next := f.next(); next != "" {
			t.Errorf("%s: the next step is again %q", f.headline(), next)
		}
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
