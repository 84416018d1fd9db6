package broker_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

func TestARefusalBeforeTheBrokerIsRecordedAndARepeatedOneCounted(t *testing.T) {
	w := newWorld(t)
	before := len(w.auditLines())
	known := broker.Caller{Name: "svc", Kind: broker.CallerJWT, RequestID: "req-7"}
	for range 3 {
		if err := w.RecordRefusal(known, "GetAccessToken", broker.ReasonCallerRateLimited, "caller_rate"); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(w.audit)
	if err != nil {
		t.Fatal(err)
	}
	raw := string(text)
	if n := len(w.auditLines()) - before; n != 1 {
		t.Errorf("three refusals in one window made %d lines", n)
	}
	for _, part := range []string{`"caller":"svc"`, `"caller_kind":"jwt"`, `"method":"GetAccessToken"`, `"outcome":"CALLER_RATE_LIMITED"`, `"request_id":"req-7"`, `"detail":"limit caller_rate"`} {
		if !strings.Contains(raw, part) {
			t.Errorf("the record lacks %s:\n%s", part, raw)
		}
	}
}

func TestWhoIsNobodyLearnsOfBothKindsOfIdentity(t *testing.T) {
	w := newWorld(t)
	for _, c := range []broker.Caller{{}, {Name: "svc", Kind: broker.CallerJWT, NotAfter: w.clock.Now().Add(-time.Second)}} {
		_, _, err := w.Grants(t.Context(), c, broker.GrantFilter{})
		if text := err.Error(); !strings.Contains(text, "certificate") || !strings.Contains(text, "token") {
			t.Errorf("%q speaks of one kind only", text)
		}
	}
}
