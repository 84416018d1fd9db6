package leaks

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

const subject = "automation"

// world is a broker whose secrets are all known, and what it let out so far.
type world struct {
	*rig.Deployment
	t          *testing.T
	sim        *rig.Sim
	tap        *tap
	scan       *scanner
	jira, wiki rig.App
	server     *rig.Server
	collector  *collector
	checked    atomic.Int64
}

// newWorld deploys a broker that logs in that format. Settings of the provider's
// section and overrides of its profile end each line.
func newWorld(t *testing.T, format, settings, overrides string) *world {
	t.Helper()
	return newWorldWith(t, format, settings, overrides, nil)
}

// newWorldWith is newWorld with what edit, unless nil, makes of its deployment, whose
// secrets edit makes known to the scanner.
func newWorldWith(t *testing.T, format, settings, overrides string, edit func(*scanner, *rig.Setup)) *world {
	t.Helper()
	w := &world{t: t, scan: new(scanner)}
	app := func(product, scope string) rig.App {
		// What escapes change is in it; the simulator's command line takes no blanks.
		a := rig.App{ID: "client-of-" + product, Secret: hostile(), Product: product, Scopes: []string{scope}}
		w.scan.plant(clientSecret, a.Secret)
		return a
	}
	w.jira, w.wiki = app("jira", "read:jira-work"), app("confluence", "read:confluence-content.all")
	where := rig.FreeAddresses(t)
	w.sim = rig.StartSim(t, where, w.jira, w.wiki)
	w.tap = newTap(t, w.scan, w.sim.URL)
	provider := strings.ReplaceAll(w.sim.Provider("http_timeout: 4s\nlease: 10s\nclock_margin: 1s\n"+settings, overrides), w.sim.URL, w.tap.URL)
	w.collector = newCollector(t)
	setup := rig.Setup{Where: where, Audit: w.collector.section(), Apps: []rig.App{w.jira, w.wiki}, Provider: provider, Build: rig.Build{Plain: true},
		More: "log: {level: debug, format: " + format + "}\n"}
	if edit != nil {
		edit(w.scan, &setup)
	}
	w.Deployment = rig.Deploy(t, setup)
	w.plantFiles()
	return w
}

// plantFiles makes the keys known that lie in files.
func (w *world) plantFiles() {
	text, err := os.ReadFile(filepath.Join(w.Dir, "kek"))
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.scan.plant(kek, string(raw))
	w.plantKey(filepath.Join(w.Dir, "server.key"))
}

// plantKey makes the private key in a PEM file known: its number, not what all keys have around it.
func (w *world) plantKey(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := parsed.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	w.scan.plant(privateKey, string(raw))
}

// canary is a secret that somebody puts where it does not belong.
func (w *world) canary(kind string) string {
	text := rand.Text() + rand.Text()
	w.scan.plant(kind, text)
	return text
}

// look scans what came out at a place; the kinds but may be there.
func (w *world) look(place string, data []byte, but ...string) {
	w.t.Helper()
	w.checked.Add(int64(len(data)))
	for _, f := range w.scan.find(data, but...) {
		w.t.Errorf("%s holds a %s, %s, at %s", place, f.kind, f.encoding, f.near)
	}
}

// secretFiles are those whose place is the deployment's directory, and no fault of the broker's.
var secretFiles = []string{"kek", "vault.token", "server.key", "jira.secret", "confluence.secret", "operator.key", "integration.key"}

// lookAtFiles scans all that lies in the deployment's directory: store, witness,
// spill file, audit file, backups.
func (w *world) lookAtFiles() { w.t.Helper(); w.lookAtFilesIn(w.Dir) }

func (w *world) lookAtFilesIn(dir string) {
	w.t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || slices.Contains(secretFiles, entry.Name()) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		w.look("the file "+strings.TrimPrefix(path, dir), text)
		if strings.HasPrefix(entry.Name(), "core") {
			w.t.Errorf("there is a core dump: %s", path)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if files < 8 {
		w.t.Errorf("only %d files were looked at; the store alone has more", files)
	}
}

// serve starts the server. What it says is scanned when it has ended.
func (w *world) serve() { w.server = w.Serve(w.t) }

// page asks for one page and scans it. Kinds but may be in it; its own form's
// action is its own address.
func (w *world) page(person *http.Client, req *http.Request, but ...string) (*http.Response, []byte) {
	w.t.Helper()
	resp, err := person.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		w.scan.plant(cookie, c.Value)
	}
	headers := resp.Header.Clone()
	headers.Del("Set-Cookie")
	var text strings.Builder
	_ = headers.Write(&text) // into memory
	name := req.Method + " " + req.URL.Path
	w.look(name+", the answer's headers", []byte(text.String()), but...)
	w.look(name+", the page", body, but...)
	return resp, body
}

// account of the simulator that consents.
func account() string { return atlassiansim.DefaultAccounts()[0].ID }
