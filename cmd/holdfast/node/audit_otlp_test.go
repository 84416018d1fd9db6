package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	"github.com/holdfast-io/holdfast/internal/freeport"
)

// logsService is what a collector offers, over gRPC as a real one does.
type logsService struct {
	collector.UnimplementedLogsServiceServer
	addr string

	mu     sync.Mutex // guards all below
	bodies []string
	events []string
	// answer, if set, decides in the service's place.
	answer func(ctx context.Context) (*collector.ExportLogsServiceResponse, error)
}

func startCollector(t *testing.T, addr string, options ...grpc.ServerOption) *logsService {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, server := &logsService{addr: l.Addr().String()}, grpc.NewServer(options...)
	collector.RegisterLogsServiceServer(server, c)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

// Export implements the service.
func (c *logsService) Export(ctx context.Context, r *collector.ExportLogsServiceRequest) (*collector.ExportLogsServiceResponse, error) {
	c.mu.Lock()
	answer := c.answer
	c.mu.Unlock()
	if answer != nil {
		return answer(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.GetResourceLogs() {
		for _, scope := range resource.GetScopeLogs() {
			for _, record := range scope.GetLogRecords() {
				c.bodies = append(c.bodies, record.GetBody().GetStringValue())
				c.events = append(c.events, record.GetEventName()+" "+record.GetSeverityNumber().String())
			}
		}
	}
	return &collector.ExportLogsServiceResponse{}, nil
}

func (c *logsService) decide(answer func(ctx context.Context) (*collector.ExportLogsServiceResponse, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *logsService) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.bodies, "\n")
}

// collected opens a log with an exporter to that endpoint; file may be empty.
func collected(t *testing.T, file, endpoint, ca string) *audit.Log {
	t.Helper()
	e, err := newOTLP(endpoint, ca)
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(audit.Config{File: file, Exporter: e, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func handOut(n int) *audit.Record {
	return &audit.Record{Time: time.Now(), RequestID: "r" + strconv.Itoa(n), Caller: "svc", CallerKind: "x509", Method: "GetAccessToken", Action: "draw",
		Rule: "callers[svc]", Grant: "acme/a/jira", GrantID: "grt_1", Generation: uint64(n + 1), Purpose: "a \"test\"\n", Fingerprint: "hf1:0", Outcome: "ok"}
}

func TestACollectorGetsEveryLineAsItStandsInTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := devca.Ensure(dir, "someone", time.Now()); err != nil {
		t.Fatal(err)
	}
	secure, err := credentials.NewServerTLSFromFile(filepath.Join(dir, devca.ServerCert), filepath.Join(dir, devca.ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, scheme, ca string
		options          []grpc.ServerOption
	}{
		{"in the clear", "http://", "", nil},
		{"by TLS", "https://", filepath.Join(dir, devca.CACert), []grpc.ServerOption{grpc.Creds(secure)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, file := startCollector(t, "127.0.0.1:0", row.options...), filepath.Join(t.TempDir(), "audit.log")
			l := collected(t, file, row.scheme+c.addr, row.ca)
			for i := range 100 {
				if err := l.Write(handOut(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSuffix(string(want), "\n"), c.got()); diff != "" || !bytes.Contains(want, []byte(`"generation":100`)) {
				t.Errorf("(-file +collector)\n%s", diff)
			}
			for _, event := range c.events {
				if event != "holdfast.audit SEVERITY_NUMBER_INFO" {
					t.Fatalf("a record came as %q", event)
				}
			}
			if lost, said := l.Stats().Lost["otlp"], l.Complaints(); lost > 0 || len(said) > 0 {
				t.Errorf("%d lines lost, and said: %q", lost, said)
			}
		})
	}
}

// A collector takes 4 MiB at once, unless it is told otherwise.
func TestAGreatBatchComesInMessagesThatACollectorTakes(t *testing.T) {
	c := startCollector(t, "127.0.0.1:0")
	e, err := newOTLP("http://"+c.addr, "")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	lines := make([][]byte, 3000)
	for i := range lines {
		lines[i] = []byte(strconv.Itoa(i) + strings.Repeat("x", 2000))
	}
	if err := e.Export(t.Context(), lines); err != nil {
		t.Fatal(err)
	}
	if got := c.got(); got != string(bytes.Join(lines, []byte("\n"))) {
		t.Fatalf("%d bytes came, in another order or not all", len(got))
	}
}

// Whatever the collector does, with a file nobody waits for it; what it did not get is counted and said.
func TestACollectorThatFailsHoldsUpNothingAndIsSaid(t *testing.T) {
	refused := func(code codes.Code) func(context.Context) (*collector.ExportLogsServiceResponse, error) {
		return func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return nil, status.Error(code, "no")
		}
	}
	for _, row := range []struct {
		name   string
		answer func(context.Context) (*collector.ExportLogsServiceResponse, error)
	}{
		{"it is down", nil},
		{"it refuses", refused(codes.InvalidArgument)},
		{"it asks to come again", refused(codes.Unavailable)},
		{"it does not answer", func(ctx context.Context) (*collector.ExportLogsServiceResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}},
		{"it takes a part of them", func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return &collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "full"}}, nil
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			addr, err := freeport.Address()
			if err != nil {
				t.Fatal(err)
			}
			if row.answer != nil {
				startCollector(t, addr).decide(row.answer)
			}
			l := collected(t, filepath.Join(t.TempDir(), "audit.log"), "http://"+addr, "")
			const records = 600 // more than the queue has room for
			for i := range records {
				if err := l.Write(handOut(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Health(); err != nil {
				t.Errorf("not healthy: %v", err)
			}
			began := time.Now()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the end took %v", took)
			}
			s, said := l.Stats(), strings.Join(l.Complaints(), "\n")
			if s.Records != records || s.Refused > 0 || s.Lost["otlp"] < records {
				t.Errorf("%d records written, %d refused, %d lines lost", s.Records, s.Refused, s.Lost["otlp"])
			}
			if !strings.Contains(said, strconv.FormatUint(s.Lost["otlp"], 10)+" audit lines did not reach the copy otlp") {
				t.Errorf("%d lines lost, and said: %q", s.Lost["otlp"], said)
			}
		})
	}
}

func TestACollectorThatIsTheOnlySinkFailsClosedAndRecoversAlone(t *testing.T) {
	c := startCollector(t, "127.0.0.1:0")
	l := collected(t, "", "http://"+c.addr, "")
	if err := l.Write(handOut(1)); err != nil {
		t.Fatal(err)
	}
	for n, answer := range map[int]func(context.Context) (*collector.ExportLogsServiceResponse, error){
		2: func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return nil, status.Error(codes.PermissionDenied, "no")
		},
		3: func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return &collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 1}}, nil
		},
		4: func(ctx context.Context) (*collector.ExportLogsServiceResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		c.decide(answer)
		began := time.Now()
		if err := l.Write(handOut(n)); err == nil || time.Since(began) > 2*audit.DefaultPatience {
			t.Errorf("record %d: %v after %v, want a refusal within the patience", n, err, time.Since(began))
		}
		if l.Health() == nil {
			t.Errorf("record %d: healthy", n)
		}
		c.decide(nil)
		until(t, "it recovers without a call", func() bool { return l.Health() == nil })
	}
	if err := errors.Join(l.Write(handOut(5)), l.Close()); err != nil {
		t.Fatal(err)
	}
	if got := c.got(); !strings.Contains(got, `"r5"`) || !strings.Contains(got, `"audit":"recovered"`) || strings.Contains(got, `"r3"`) {
		t.Errorf("the collector has\n%s", got)
	}
}

// until waits for what comes by itself, 30 s at most.
func until(t *testing.T, what string, come func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !come() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("waited in vain until ", what)
		}
	}
}
