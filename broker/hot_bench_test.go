package broker_test

import (
	"context"
	"testing"

	"github.com/holdfast-io/holdfast/broker"
)

// BenchmarkAccessToken measures one hot hand-out, from the gate to the audit
// record, without the network.
func BenchmarkAccessToken(b *testing.B) {
	w := newWorld(b, func(w *world) { w.cfg.Limits = broker.Limits{GrantRate: 1_000_000, GrantBurst: 1_000_000} })
	w.consent(jira)
	w.startBroker()
	w.token(jira)
	caller := svc
	caller.RequestID = "abcdefghijklmnop"
	req := broker.TokenRequest{Address: jira, Purpose: "sync"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.AccessToken(context.Background(), caller, req); err != nil {
			b.Fatal(err)
		}
	}
}
