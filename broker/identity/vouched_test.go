package identity

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
)

func TestWhoAProxyMaySpeakFor(t *testing.T) {
	trust, err := New(Config{SPIFFE: &SPIFFE{Domains: []string{"example.org"}, Groups: []string{"/ns/*"}}})
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)
	proxy := broker.Caller{Name: "gateway", Kind: broker.CallerX509, Groups: []string{"proxies"}, NotAfter: end, RequestID: "r1"}
	listed := func(name string) bool { return name == "reports" || name == "spiffe://example.org" }
	for name, want := range map[string]*broker.Caller{
		"reports": {Name: "reports", Kind: broker.CallerProxy, Via: "gateway", NotAfter: end, RequestID: "r1"},
		"spiffe://example.org/ns/prod/sa/a": {
			Name: "spiffe://example.org/ns/prod/sa/a", Kind: broker.CallerProxy, Via: "gateway", Groups: []string{"spiffe://example.org/ns/prod"}, NotAfter: end, RequestID: "r1",
		},
		"spiffe://example.org":           nil, // a domain, and no workload, though it is listed
		"spiffe://other.org/ns/prod":     nil,
		"SPIFFE://example.org/ns/prod":   nil,
		"spiffe://example.org/ns/../etc": nil,
		"unlisted":                       nil,
		UnmappedPrefix + "reports":       nil,
		"":                               nil,
	} {
		got, err := trust.Vouched(name, listed, proxy)
		switch {
		case want == nil && (err == nil || broker.ReasonOf(err) != broker.ReasonCallerUnauthenticated):
			t.Errorf("%q: %+v, error %v, want CALLER_UNAUTHENTICATED", name, got, err)
		case want != nil && err != nil:
			t.Errorf("%q: %v", name, err)
		case want != nil:
			if diff := cmp.Diff(*want, got.Caller); diff != "" || !got.Mapped {
				t.Errorf("%q (-want +got)\n%s", name, diff)
			}
		}
	}
}
