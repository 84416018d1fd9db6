package broker_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// TestOneReplicaDoesForAllWhatIsToBeDoneOnce: retention purges each grant once, and
// nobody complains of what another one has done already.
func TestOneReplicaDoesForAllWhatIsToBeDoneOnce(t *testing.T) {
	var log logBuffer
	inCluster(t, 3, func(c *cluster) {
		all := c.consentMany(6)
		for _, a := range all {
			if _, err := c.replica[0].Revoke(ctx, op, "", a, "test"); err != nil {
				t.Fatal(err)
			}
		}
		pass(4 * time.Hour)
		for _, a := range all {
			if _, err := c.replica[1].store.Grant(ctx, a.GrantID()); err == nil {
				t.Errorf("%s was not purged", a)
			}
		}
		if n := strings.Count(log.String(), "grant purged"); n != len(all) {
			t.Errorf("%d purges of %d grants", n, len(all))
		}
		if text := log.String(); strings.Contains(text, "failed") {
			t.Errorf("somebody failed:\n%s", text)
		}
	}, func(c *cluster) {
		c.cfg.Retention = broker.Retention{Revoked: 2 * time.Hour}
		c.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
}

// logBuffer is what all replicas logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestGrantsAreCountedByOneReplicaForAll, and if that one dies by another.
func TestGrantsAreCountedByOneReplicaForAll(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		c.consentMany(4)
		pass(3 * time.Minute)
		var latest time.Time
		for i, m := range c.replica {
			census := m.Census()
			if n := census.Apps["jira"].Phases[family.Active]; n != 4 {
				t.Errorf("replica %d knows of %d active families", i, n)
			}
			if census.At.After(latest) {
				latest = census.At
			}
		}
		if n := c.countings(10 * time.Minute); n < 8 || n > 12 {
			t.Errorf("%d countings in ten minutes", n)
		}
		c.replica[0].close()
		c.replica[1].close()
		if n := c.countings(10 * time.Minute); n < 8 {
			t.Errorf("%d countings in ten minutes of the last replica", n)
		}
	})
}

// countings counts the censuses that are stored within a time.
func (c *cluster) countings(within time.Duration) (n int) {
	var last time.Time
	for began := time.Now(); time.Since(began) < within; pass(5 * time.Second) {
		for _, m := range c.replica {
			if at := m.Census().At; at.After(last) {
				last = at
				n++
			}
		}
	}
	return n
}

// TestAnOutageIsOneEventOfTheApp, however many replicas find it.
func TestAnOutageIsOneEventOfTheApp(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		all := c.consentMany(12)
		pass(untilExpired)
		_, err := c.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, KeepToken: true, GrantType: "refresh_token"})
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range all {
			_, _ = c.replica[i%3].draw(a)
		}
		pass(time.Minute)
		c.sim.ClearFaults()
		pass(5 * time.Minute)
		for i, a := range all {
			if _, err := c.replica[i%3].draw(a); err != nil {
				t.Errorf("after the outage: %v", err)
			}
		}
		pass(time.Minute)
		got := map[storage.AppEventType]int{}
		rec, err := c.replica[0].store.App(ctx, "jira")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range rec.Events {
			got[e.Type]++
		}
		if got[storage.AppCircuitOpened] != 1 || got[storage.AppCircuitClosed] != 1 {
			t.Errorf("events %v", rec.Events)
		}
	}, shortLives)
}
