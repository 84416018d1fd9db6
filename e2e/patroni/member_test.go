package patroni

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-io/holdfast/e2e/rig"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// member is a machine of the cluster: a network namespace in which etcd, Patroni
// and the PostgreSQL that Patroni starts run. Its directory survives its death.
type member struct {
	name   string
	number int
}

var members = []*member{{"m1", 11}, {"m2", 12}, {"m3", 13}}

func (m *member) String() string { return m.name }

func (m *member) dir() string { return filepath.Join(runDir, m.name) }

// within is a command in the member's namespace, as the user that PostgreSQL runs as.
func (m *member) within(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	who := pgtest.Credential(t) // the tests are root here
	cmd := exec.Command("nsenter", append([]string{
		"--net=/run/netns/" + m.name, "--setuid", fmt.Sprint(who.Uid), "--setgid", fmt.Sprint(who.Gid), "--", name,
	}, args...)...)
	cmd.Dir = m.dir()
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + m.dir(), "LC_ALL=C.UTF-8"}
	return cmd
}

// make makes the directory of a new machine.
func (m *member) make(t testing.TB) {
	t.Helper()
	if err := os.Mkdir(m.dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.file("patroni.yml"), []byte(m.settings(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	who := pgtest.Credential(t)
	if err := os.Chown(m.dir(), int(who.Uid), int(who.Gid)); err != nil {
		t.Fatal(err)
	}
}

func (m *member) file(name string) string { return filepath.Join(m.dir(), name) }

func (m *member) startEtcd(t testing.TB) {
	t.Helper()
	own := "http://" + m.address(peers)
	var all []string
	for _, o := range members {
		all = append(all, fmt.Sprintf("%s=http://%s:2380", o.name, o.address(peers)))
	}
	m.start(t, "etcd", "--name", m.name, "--data-dir", m.file("etcd"),
		"--listen-peer-urls", own+":2380", "--initial-advertise-peer-urls", own+":2380",
		"--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls", own+":2379",
		"--initial-cluster", strings.Join(all, ","), "--initial-cluster-token", "holdfast",
		// Twice the default: two busy processors are all that there may be.
		"--heartbeat-interval", "200", "--election-timeout", "2000",
		// A member that returns must not make the others elect again.
		"--pre-vote", "--enable-v2",
		"--logger", "zap", "--log-level", "warn")
}

func (m *member) startPatroni(t testing.TB) {
	t.Helper()
	m.start(t, "patroni", m.file("patroni.yml"))
}

// start starts a program that runs until the member dies, or all tests end.
func (m *member) start(t testing.TB, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing, of Debian's packages patroni and etcd-server: run scripts/setup.sh (%v)", name, err)
	}
	log, err := os.OpenFile(m.file(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := m.within(t, path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s of %s: %v", name, m, err)
	}
	go func() { _ = cmd.Wait() }() // until it is killed
}

// kill is the machine's death: SIGKILL for all that runs on it.
func (m *member) kill(t testing.TB) {
	t.Helper()
	rig.Until(t, "nothing runs on "+m.name+" any more", func() bool {
		left := m.pids(t)
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(left) == 0
	})
}

// boot starts a machine that was killed.
func (m *member) boot(t testing.TB) {
	t.Helper()
	m.startEtcd(t)
	m.startPatroni(t)
}

// pids of what runs in the member's network namespace; those that ended and wait
// to be taken in are not among them.
func (m *member) pids(t testing.TB) (pids []int) {
	t.Helper()
	its, err := os.Stat("/run/netns/" + m.name)
	if err != nil {
		t.Fatal(err)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		if at, err := os.Stat(filepath.Join(p, "ns/net")); err == nil && os.SameFile(its, at) {
			pid, _ := strconv.Atoi(filepath.Base(p))
			pids = append(pids, pid)
		}
	}
	return pids
}

// tail is the end of one of the member's logs.
func (m *member) tail(name string) string {
	b, err := os.ReadFile(m.file(name))
	if err != nil {
		return err.Error()
	}
	const most = 6 << 10
	return string(b[max(0, len(b)-most):])
}
