package storage

import (
	"testing"

	"google.golang.org/protobuf/proto"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
)

// FuzzAddress: what parses is what it says, and nothing else is taken.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"acme/bot/jira", "acme/bot/jira/second", "a/b", "a//b", "a/b/c/", "ä/b/c", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q is %+v, which is written %q and read as %+v, %v", text, a, a.String(), again, err)
		}
	})
}

// FuzzHeader: no file of whatever content is taken for a header of another format.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(`{"format":1,"store_id":"x"}`))
	f.Add([]byte(`{"format":99}`))
	f.Add([]byte(`{"format":1,"unknown":2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader("store.json", b)
		if err == nil && (h.Format < 1 || h.Format > FormatVersion) {
			t.Errorf("format %d was taken", h.Format)
		}
		if err == nil {
			_, _ = h.mac(make([]byte, 32)) // whatever it holds, it can be checked
		}
	})
}

func FuzzWitness(f *testing.F) {
	f.Add([]byte(`{"format":1,"store_id":"x","epoch":3}`))
	f.Add([]byte(`{"format":-1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if w := parseWitness(b); w.Format >= 1 {
			if _, err := w.mac(make([]byte, 32)); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzRecord reads what a sealed record would hold if whoever sealed it were
// hostile, or another version of the program.
func FuzzRecord(f *testing.F) {
	grant, err := proto.Marshal(&storagev1.GrantSecret{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, grant)
	f.Add([]byte{0x0a, 2, 0x0a, 0}, []byte{0x0a, 0, 0x12, 0, 0x1a, 0, 0x22, 0, 0x2a, 0, 0x32, 0})
	f.Fuzz(func(_ *testing.T, public, secret []byte) {
		var p storagev1.GrantPublic
		var x storagev1.GrantSecret
		if proto.Unmarshal(public, &p) == nil && proto.Unmarshal(secret, &x) == nil {
			g := fromGrant(&p, &x, 0)
			_ = toGrantSecret(&g)
		}
		var c storagev1.PendingFamily
		if proto.Unmarshal(secret, &c) == nil {
			_ = toPending(fromPending(&c))
		}
		var a storagev1.AppSecret
		if proto.Unmarshal(secret, &a) == nil {
			app := fromApp("jira", &a, 0)
			_ = toAppSecret(&app)
		}
		var k storagev1.SpillEntry
		if proto.Unmarshal(secret, &k) == nil {
			kept := fromSpill(&k)
			_ = toSpill(&kept)
		}
	})
}
