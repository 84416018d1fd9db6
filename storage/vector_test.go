package storage_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// The vector of a format is written once, when the format is made, and never
// again: every later program must open it.
var writeVector = flag.Bool("write-vector", false, "write a new format's test vector")

// vector is a whole small store: a KEK, a header, records and journal entries.
type vector struct {
	KEK     string
	Header  string
	Items   []storage.Item
	Entries []storage.Entry
}

const vectorFile = "testdata/v1/store.json"

func vectorEvents() []family.Event {
	return []family.Event{
		{Type: family.EventConsented, At: at, Generation: 7, Detail: "first"},
		{Type: family.EventAnnounced, At: at, Generation: 7, Fence: 9, AttemptID: "a-1"},
	}
}

func vectorConsent() storage.Consent {
	return storage.Consent{ID: "con_1", Status: storage.ConsentDenied, ExpiresAt: at, App: "jira-app", Detail: "denied"}
}

// vectorConfig is of the store that the vector holds.
func vectorConfig(t *testing.T) storage.Config {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	kek := filepath.Join(t.TempDir(), "kek")
	err = os.WriteFile(kek, []byte(v.KEK), 0o600)
	if err == nil {
		cfg.KEK, err = seal.ReadFile(kek)
	}
	if err == nil {
		err = os.MkdirAll(cfg.Dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(cfg.Dir, storage.HeaderFile), []byte(v.Header), 0o600)
	}
	backend := memstore.New()
	if err == nil {
		err = backend.Load(t.Context(), v.Items, v.Entries)
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg.Backend, cfg.MustExist = backend.Opener(), true
	return cfg
}

func TestTheFormatsTestVectorOpens(t *testing.T) {
	if *writeVector {
		newVector(t)
	}
	s := openStore(t, vectorConfig(t))

	want := fullGrant(t, "acme/automation/jira")
	want.Version = 1
	want.State.Reserves, want.State.Former, want.ProviderRevocation = nil, nil, "" // no fields of the first format's records
	got, err := s.Grant(t.Context(), want.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, equal); d != "" {
		t.Errorf("grant (-want +got):\n%s", d)
	}
	events, err := s.Events(t.Context(), want.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := vectorEvents()
	if d := cmp.Diff([]family.Event{e[1], e[0]}, events); d != "" {
		t.Errorf("journal (-want +got):\n%s", d)
	}
	wantC := vectorConsent()
	wantC.Version = 1
	gotC, err := s.Consent(t.Context(), wantC.ID)
	if d := cmp.Diff(wantC, gotC, equal); d != "" || err != nil {
		t.Errorf("consent, error %v (-want +got):\n%s", err, d)
	}
	if s.Epoch() != 2 {
		t.Errorf("epoch %d, want one more than the vector's 1", s.Epoch())
	}
}

func newVector(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(vectorFile); err == nil {
		t.Fatalf("%s exists: a format's vector is never written again", vectorFile)
	}
	cfg := testConfig(t)
	backend := memstore.New()
	cfg.Backend = backend.Opener()
	s := openStore(t, cfg)
	g, c := fullGrant(t, "acme/automation/jira"), vectorConsent()
	if err := s.Swap(t.Context(), storage.Update{Grant: &g, Consent: &c, Events: vectorEvents()}); err != nil {
		t.Fatal(err)
	}
	kek, err1 := os.ReadFile(filepath.Join(filepath.Dir(cfg.Dir), "kek"))
	header, err2 := os.ReadFile(filepath.Join(cfg.Dir, storage.HeaderFile))
	v := vector{KEK: string(kek), Header: string(header)}
	for _, kind := range []storage.Kind{storage.KindRing, storage.KindMeta, storage.KindConsent, storage.KindGrant} {
		items, err := backend.List(t.Context(), storage.Query{Kind: kind, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		v.Items = append(v.Items, items...)
	}
	newest, err3 := backend.Events(t.Context(), g.ID, 64)
	for i := range newest {
		v.Entries = append(v.Entries, newest[len(newest)-1-i])
	}
	b, err4 := json.MarshalIndent(v, "", " ")
	for _, err := range []error{err1, err2, err3, err4, os.MkdirAll(filepath.Dir(vectorFile), 0o755), os.WriteFile(vectorFile, append(b, '\n'), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
