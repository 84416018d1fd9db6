package patroni

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// cable is one of the two that each member has.
type cable string

const (
	// peers leads to the other members: etcd, replication, Patroni's questions.
	peers cable = "peers"
	// callers leads to whoever uses the database.
	callers cable = "callers"
)

// nets are the first three bytes of the addresses at each cable.
var nets = map[cable]string{peers: "10.77.1", callers: "10.77.2"}

// buildNetwork makes two switches and, at each, a cable to every member. The
// tests and the replicas of Holdfast are at the one of the callers.
func buildNetwork() error {
	lines := []string{"link set lo up"}
	for _, c := range []cable{peers, callers} {
		lines = append(lines, fmt.Sprintf("link add %s type bridge", c), fmt.Sprintf("link set %s up", c))
	}
	lines = append(lines, fmt.Sprintf("address add %s.1/24 dev %s", nets[callers], callers))
	for _, m := range members {
		lines = append(lines, "netns add "+m.name)
		for c, net := range nets {
			lines = append(lines,
				fmt.Sprintf("link add %s type veth peer name %s netns %s", m.port(c), c, m.name),
				fmt.Sprintf("link set %s master %s up", m.port(c), c))
			if err := ip("", lines...); err != nil {
				return err
			}
			if err := ip(m.name, "link set lo up", fmt.Sprintf("address add %s.%d/24 dev %s", net, m.number, c), fmt.Sprintf("link set %s up", c)); err != nil {
				return err
			}
			lines = nil
		}
	}
	return nil
}

// ip runs commands of ip(8) in a network namespace; "" is that of the tests.
func ip(namespace string, lines ...string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-netns", namespace}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip (Debian's package is iproute2): %w\n%s", err, out)
	}
	return nil
}

// port is the switch's end of a member's cable.
func (m *member) port(c cable) string { return m.name + "-" + string(c) }

// address of a member at a cable.
func (m *member) address(c cable) string { return fmt.Sprintf("%s.%d", nets[c], m.number) }

// unplug cuts a member off: packets vanish, connections stay open on both sides.
func (m *member) unplug(t testing.TB, cables ...cable) { t.Helper(); m.turn(t, "down", cables) }

// plug ends unplug.
func (m *member) plug(t testing.TB, cables ...cable) { t.Helper(); m.turn(t, "up", cables) }

func (m *member) turn(t testing.TB, to string, cables []cable) {
	t.Helper()
	for _, c := range cables {
		if err := ip("", fmt.Sprintf("link set %s %s", m.port(c), to)); err != nil {
			t.Fatal(err)
		}
	}
}
