package patroni

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// settings is the member's patroni.yml. README.md says which of them Holdfast's
// promise needs, and why. Patroni from 3.2 on raises ttl to 20 s.
func (m *member) settings(t testing.TB) string {
	t.Helper()
	var etcd []string
	for _, o := range members {
		etcd = append(etcd, o.address(peers)+":2379")
	}
	return fmt.Sprintf(`scope: holdfast
name: %[1]s
restapi: {listen: "0.0.0.0:8008", connect_address: "%[2]s:8008"}
%[8]s: {hosts: [%[3]s]}
bootstrap:
  dcs:
    ttl: 8
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    synchronous_mode_strict: true
    synchronous_node_count: 1
    maximum_lag_on_failover: 1048576
    maximum_lag_on_syncnode: -1
    check_timeline: true
    failsafe_mode: false
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters: {wal_sender_timeout: 5s, shared_buffers: 16MB, max_connections: 100, max_wal_size: 128MB, min_wal_size: 32MB}
  initdb: [data-checksums, {encoding: UTF8}, {locale: C}]
postgresql:
  listen: 0.0.0.0:5432
  connect_address: %[2]s:5432
  bin_dir: %[4]s
  data_dir: %[5]s/data
  pgpass: %[5]s/pgpass
  authentication:
    superuser: {username: postgres, password: of-the-superuser}
    replication: {username: replicator, password: of-the-standbys}
    rewind: {username: rewinder, password: of-the-returned}
  parameters: {unix_socket_directories: %[5]s}
  pg_hba:
    - local all all trust
    - host all postgres 127.0.0.1/32 trust
    - host all postgres %[6]s.1/32 trust
    - host all all %[6]s.0/24 scram-sha-256
    - host all all %[7]s.0/24 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
    - host replication replicator %[7]s.0/24 scram-sha-256
`, m.name, m.address(peers), strings.Join(etcd, ", "), pgtest.Binaries(t), m.dir(), nets[callers], nets[peers], etcdSection(t))
}

// etcdSection is how the members talk to etcd: by its version 3, but for releases
// of Patroni before 3.0.3. Their client for it takes the leader's key back
// without asking whose it is: a member that was cut off and returns becomes the
// leader again, without what was committed meanwhile. By version 2 the key is
// compared first.
func etcdSection(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("patroni", "--version").Output()
	if err != nil {
		t.Fatalf("asking Patroni for its version (Debian's package is patroni; scripts/setup.sh installs it): %v", err)
	}
	var major, minor, patch int
	if _, err := fmt.Sscanf(string(out), "patroni %d.%d.%d", &major, &minor, &patch); err != nil {
		t.Fatalf("Patroni says %q for its version", out)
	}
	if major*10000+minor*100+patch < 30003 {
		return "etcd"
	}
	return "etcd3"
}
