package patroni

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// started is set once the members' machines were made.
var started bool

// explain lets the members' logs follow a test that fails.
func explain(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		for _, m := range members {
			if t.Failed() {
				t.Logf("%s: the end of Patroni's log:\n%s\nof etcd's:\n%s", m, m.tail("patroni.log"), m.tail("etcd.log"))
			}
		}
	})
}

// able returns once the cluster takes commits: it has a leader and a synchronous
// standby. The first test that asks starts it; it ends with the namespaces.
func able(t testing.TB) {
	t.Helper()
	if !started {
		for _, m := range members {
			m.make(t)
			m.startEtcd(t)
		}
		for _, m := range members {
			rig.Until(t, "etcd of "+m.name+" is healthy", func() bool { return m.get(t, 2379, "/health", nil) })
			m.startPatroni(t)
		}
		started = true
	}
	rig.Until(t, "a leader with a synchronous standby", func() bool {
		v := look(t)
		return v.leader != nil && v.synchronous != nil
	})
}

// whole returns the leader once one more standby follows it, so that the leader may fail.
func whole(t testing.TB) (leader *member) {
	t.Helper()
	rig.Until(t, "a leader with two standbys, one of them synchronous", func() bool {
		v := look(t)
		leader = v.leader
		return v.leader != nil && v.synchronous != nil && len(v.following) == len(members)-1
	})
	return leader
}

// view is what the members tell of their cluster.
type view struct {
	// leader is nil unless a member says of itself that it takes writes, and the others agree.
	leader   *member
	timeline int
	// synchronous may take over; nil if there is none.
	synchronous *member
	// following are the standbys on the leader's timeline.
	following []*member
}

// look asks all members at the cable of the callers. One that is cut off from the
// others may still tell of itself as the leader; the newest history counts.
func look(t testing.TB) (newest view) {
	t.Helper()
	for _, m := range members {
		if v := m.look(t); v.leader != nil && (newest.leader == nil || v.timeline > newest.timeline) {
			newest = v
		}
	}
	return newest
}

func (m *member) look(t testing.TB) (v view) {
	t.Helper()
	var answer struct {
		Members []struct {
			Name, Role, State string
			Timeline          int
		}
	}
	if !m.get(t, 8008, "/cluster", &answer) {
		return v
	}
	for _, a := range answer.Members {
		if m := named(a.Name); a.Role == "leader" && a.State == "running" && m.get(t, 8008, "/primary", nil) {
			v.leader, v.timeline = m, a.Timeline
		}
	}
	for _, a := range answer.Members {
		// "streaming" is what newer releases say instead of "running".
		if a.Role == "leader" || v.leader == nil || a.Timeline != v.timeline || a.State != "running" && a.State != "streaming" {
			continue
		}
		v.following = append(v.following, named(a.Name))
		if a.Role == "sync_standby" {
			v.synchronous = named(a.Name)
		}
	}
	return v
}

func named(name string) *member {
	for _, m := range members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// get asks a member by HTTP for a JSON answer; false: it does not say 200.
func (m *member) get(t testing.TB, port int, path string, answer any) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d%s", m.address(callers), port, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // a kept connection would not notice that the cable is out
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return false
	}
	return answer == nil || json.NewDecoder(resp.Body).Decode(answer) == nil
}

// hosts are all members as a connection string names them.
func hosts() string {
	var all []string
	for _, m := range members {
		all = append(all, m.address(callers))
	}
	return strings.Join(all, ",")
}

// sqlWithin bounds one statement: longer than a commit waits for a fail-over.
const sqlWithin = 40 * time.Second

// sql runs one statement by psql on whichever member takes writes, as the
// superuser. Without an error it was committed.
func sql(t testing.TB, statement string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), sqlWithin)
	defer cancel()
	return psql(exec.CommandContext(ctx, filepath.Join(pgtest.Binaries(t), "psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-c", statement, "-d",
		"dbname=postgres user=postgres target_session_attrs=read-write connect_timeout=2 host="+hosts()))
}

// sql asks a member itself, whichever of its cables are out.
func (m *member) sql(t testing.TB, statement string) (string, error) {
	t.Helper()
	return psql(m.within(t, filepath.Join(pgtest.Binaries(t), "psql"), "-XAtqw", "-c", statement, "-d",
		"dbname=postgres user=postgres connect_timeout=2 host="+m.dir()))
}

func psql(cmd *exec.Cmd) (string, error) {
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(problems.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
