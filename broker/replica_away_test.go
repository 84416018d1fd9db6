package broker_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// lines is a log that many write.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// Whoever looks for the cause of an outage must be told by the broker, and find it
// in the log.
func TestABrokerWithoutItsStoreSaysWhatIsWrong(t *testing.T) {
	log := new(lines)
	inCluster(t, 1, func(c *cluster) {
		one := c.replica[0]
		one.consent(jira)
		pass(10 * time.Second)
		one.link.lose(storage.ErrUnavailable, false)
		pass(10 * time.Minute)
		s, err := one.Status(ctx, op)
		if err != nil {
			t.Fatalf("the status can not be had: %v", err)
		}
		if s.Ready || len(s.Reasons) == 0 || !strings.Contains(s.Reasons[0], "store") || len(s.Families) != 0 || len(s.Apps) == 0 {
			t.Errorf("got %+v", s)
		}
		if n := log.count("claiming grants that are due failed"); n > 4 {
			t.Errorf("%d lines about claims in an outage that is said once", n)
		}
		if n := log.count("the store does not answer"); n != 1 {
			t.Errorf("%d lines about the outage, want 1", n)
		}
		// Every 10 seconds it is tried, and told once and then every 10 minutes.
		if first, later := log.count("high-water mark failed"), log.count("high-water mark still fails"); first != 1 || later > 1 {
			t.Errorf("%d and %d lines about the clock's mark in an outage of 10 minutes", first, later)
		}
		if n := log.count("high-water mark works again"); n != 0 {
			t.Errorf("%d lines say that it is over while it is not", n)
		}
		one.link.lose(nil, false)
		pass(time.Minute)
		if n := log.count("high-water mark works again"); n != 1 {
			t.Errorf("%d lines say that it is over, want 1", n)
		}
		if s, err := one.Status(ctx, op); err != nil || !s.Ready || len(s.Families) != 1 {
			t.Errorf("afterwards: %+v, %v", s, err)
		}
	}, func(c *cluster) { c.cfg.Log = slog.New(slog.NewTextHandler(log, nil)) })
}
