package leaks

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// handOut is in a line of the audit record that tells of one.
const handOut = `"fingerprint":"hf1:`

// collector is an OpenTelemetry collector that keeps what it is sent, as it is sent.
type collector struct {
	logs.UnimplementedLogsServiceServer
	addr string

	mu  sync.Mutex // guards got
	got bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, server := &collector{addr: l.Addr().String()}, grpc.NewServer()
	logs.RegisterLogsServiceServer(server, c)
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
func (c *collector) Export(_ context.Context, r *logs.ExportLogsServiceRequest) (*logs.ExportLogsServiceResponse, error) {
	text, err := proto.Marshal(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got.Write(text)
	return &logs.ExportLogsServiceResponse{}, err
}

func (c *collector) all() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.got.Bytes())
}

// section sends the record everywhere that it can go.
func (c *collector) section() string {
	return fmt.Sprintf("{file: audit.log, level: durable, stdout: true, otlp: {endpoint: \"http://%s\"}, rotate_size: 1MiB, checkpoint_file: checkpoint, checkpoint_every: 1s}", c.addr)
}

// whoHad asks by a token that somebody was handed, from a file and from standard
// input, and by ones that are no token.
func (w *world) whoHad(connect []string) {
	w.t.Helper()
	var got *holdfastv1.GetAccessTokenResponse
	rig.Until(w.t, "the provider's limit of before is over", func() bool {
		var err error
		got, err = w.Tokens.GetAccessToken(w.t.Context(), &holdfastv1.GetAccessTokenRequest{Grant: w.jira.Grant(subject), Purpose: "a-test"})
		return err == nil
	})
	leaked := filepath.Join(w.t.TempDir(), "leaked") // not where files are looked at
	for text, found := range map[string]bool{got.GetAccessToken(): true, got.GetAccessToken() + "\n": true, w.canary(planted): false, w.canary(planted) + "\x00\xff": false, "": false} {
		if err := os.WriteFile(leaked, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
		for _, form := range []string{"table", "json"} {
			for _, from := range []string{leaked, "-"} {
				cmd := w.Command(append(slices.Concat([]string{"audit", "who-had", "--leaked", from}, connect), "--output", form)...)
				cmd.Stdin = strings.NewReader(text)
				out, _ := cmd.CombinedOutput() // refusals are looked at, too
				w.look("holdfast audit who-had of a token in the form "+form, out)
				if strings.Contains(string(out), "acme/") != found {
					w.t.Errorf("holdfast audit who-had says %q; found: want %v", out, found)
				}
			}
		}
	}
}

// audited verifies the record of the stopped broker, whole and torn, and looks
// at all that is said of it.
func (w *world) audited() {
	w.t.Helper()
	if !bytes.Contains(w.collector.all(), []byte(handOut)) {
		w.t.Error("the collector has no hand-out of the audit record; the test has nothing to look at")
	}
	key := w.Run(w.t, "audit", "key", "--config", "holdfast.yaml")
	w.look("holdfast audit key", []byte(key))
	verify := []string{"audit", "verify", "--key", strings.TrimSpace(key), "--checkpoint", "checkpoint"}
	w.look("holdfast audit verify", []byte(w.Run(w.t, append(verify, "audit.log")...)))
	text, err := os.ReadFile(filepath.Join(w.Dir, "audit.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	torn := filepath.Join(w.t.TempDir(), "torn")
	if err := os.WriteFile(torn, bytes.Replace(text[:len(text)-100], []byte(`"outcome":"ok"`), []byte(`"outcome":"no"`), 1), 0o600); err != nil {
		w.t.Fatal(err)
	}
	out, err := w.Command(append(verify, torn)...).CombinedOutput()
	if err == nil {
		w.t.Errorf("a torn and changed record verifies: %s", out)
	}
	w.look("holdfast audit verify of a changed record", out)
}
