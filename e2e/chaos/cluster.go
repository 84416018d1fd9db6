package chaos

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/chaos/faultproxy"
	"github.com/holdfast-io/holdfast/e2e/rig"
)

// The times of a run. Access tokens are renewed every three seconds, and
// 3 x (lease + timeout) + margin = 19 s fit into the leeway many times, so that
// nothing but a fault of the broker can lose a family.
const (
	Lease       = 4 * time.Second
	HTTPTimeout = 2 * time.Second
	ClockMargin = time.Second
	AccessLife  = 6 * time.Second
	AccessGrace = 3 * time.Second
	Leeway      = 3 * time.Minute
)

// StaleFor is for how long a token is served that cannot be verified: the
// configured time is longer, and the access grace bounds it.
const StaleFor = AccessGrace

var apps = []rig.App{
	{ID: "client-of-jira", Secret: "secret-of-jira-0123456789", Product: "jira", Scopes: []string{"read:jira-work"}},
	{ID: "client-of-confluence", Secret: "secret-of-confluence-0123456789", Product: "confluence", Scopes: []string{"read:confluence-content.all"}},
}

// Options of a cluster.
type Options struct {
	// Seed of the provider's faults.
	Seed uint64
	// Replicas; 0 means 3.
	Replicas int
	// Servers of the database, by address. Each replica reaches each of them
	// through a proxy of its own, in this order; with Direct, without one.
	Servers []string
	Direct  bool
	// User, Password and Database of the connection string; Parameters are added to
	// it, as "name=value&name=value".
	User, Password, Database, Parameters string
	// Provider has switches of the simulator besides those of this package's times;
	// see atlassiansim.Behaviour for their names.
	Provider map[string]any
}

// Cluster is replicas of the released binary on one database, with the simulated
// provider, from Start until the test ends.
type Cluster struct {
	Replicas []*Replica
	Sim      *rig.Sim
	// Logs is the directory of all logs. It is kept if the test fails.
	Logs string
	// Began is when the cluster's time began: all others of a run count from it.
	Began time.Time

	t testing.TB
	// public is where browsers come in: to the replica that it is pointed at.
	public *faultproxy.Proxy
}

// Start deploys the cluster, starts its replicas at the same moment and waits until all serve.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Replicas == 0 {
		o.Replicas = 3
	}
	c := &Cluster{t: t, Began: time.Now()}
	c.keepLogs()
	first := rig.FreeAddresses(t)
	c.public = c.proxy(first.HTTP)
	c.Sim = rig.StartSim(t, rig.Addresses{HTTP: c.public.Addr()}, apps...)
	c.behave(o)
	c.deploy(first, o)
	for _, r := range c.Replicas {
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range c.Replicas {
		if err := r.AwaitServing(rig.Patience); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Now is the cluster's time.
func (c *Cluster) Now() time.Duration { return time.Since(c.Began) }

// Stop ends all replicas in good order.
func (c *Cluster) Stop() {
	c.t.Helper()
	for _, r := range c.Replicas {
		if err := r.Stop(); err != nil {
			c.t.Error(err)
		}
	}
}

// Retarget lets the replicas find another server in the place of the server-th.
func (c *Cluster) Retarget(server int, address string) {
	for _, r := range c.Replicas {
		r.Links[server].Retarget(address)
	}
}

// behave sets what the provider is like.
func (c *Cluster) behave(o Options) {
	switches := map[string]any{
		"leeway_seconds": int(Leeway.Seconds()), "access_ttl_seconds": int(AccessLife.Seconds()), "access_grace_seconds": int(AccessGrace.Seconds()),
	}
	for name, value := range o.Provider {
		switches[name] = value
	}
	c.Sim.Behave(c.t, switches)
}

// Disturb lets the provider lose some answers and take its time with many, so that
// a disaster often finds a token spent and its successor unknown.
func (c *Cluster) Disturb() {
	for _, f := range []atlassiansim.Fault{
		{Kind: atlassiansim.FaultDropBeforeAnswer, Percent: 4},
		{Kind: atlassiansim.FaultDropMidBody, Percent: 3},
		{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 900, Percent: 15},
		{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 80, Percent: 40},
	} {
		c.Sim.Fault(c.t, f)
	}
}

func (c *Cluster) deploy(first rig.Addresses, o Options) {
	c.t.Helper()
	settings := fmt.Sprintf("http_timeout: %v\nlease: %v\nclock_margin: %v\n", HTTPTimeout, Lease, ClockMargin)
	overrides := fmt.Sprintf("leeway: %v\naccess_grace: %v\nassumed_life: 10s\n", Leeway, AccessGrace)
	base := rig.Deploy(c.t, rig.Setup{
		Where: first, Public: c.public.Addr(), Apps: apps, Provider: c.Sim.Provider(settings, overrides),
		Store: "{kind: postgres, dir: store, postgres: {dsn_file: dsn}}", Build: rig.Build{Plain: true},
	})
	for n := range o.Replicas {
		d := base
		if n > 0 {
			d = base.Replica(c.t, rig.FreeAddresses(c.t))
		}
		r := &Replica{Deployment: d, Number: n, c: c, log: filepath.Join(c.Logs, fmt.Sprintf("replica-%d.log", n))}
		hosts := slices.Clone(o.Servers)
		for i := 0; i < len(hosts) && !o.Direct; i++ {
			r.Links = append(r.Links, c.proxy(hosts[i]))
			hosts[i] = r.Links[i].Addr()
		}
		if err := os.WriteFile(filepath.Join(d.Dir, "dsn"), []byte(o.dsn(hosts)+"\n"), 0o600); err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(r.end)
		c.Replicas = append(c.Replicas, r)
	}
}

// dsn is the connection string of a replica: of all servers it takes the one that
// takes writes.
func (o *Options) dsn(hosts []string) string {
	u := url.URL{Scheme: "postgres", User: url.User(o.User), Host: strings.Join(hosts, ","), Path: "/" + o.Database,
		RawQuery: "sslmode=disable&target_session_attrs=read-write"}
	if o.Password != "" {
		u.User = url.UserPassword(o.User, o.Password)
	}
	if o.Parameters != "" {
		u.RawQuery += "&" + o.Parameters
	}
	return u.String()
}

func (c *Cluster) proxy(target string) *faultproxy.Proxy {
	c.t.Helper()
	p, err := faultproxy.Listen(target)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.Close)
	return p
}

// keepLogs makes the directory of the logs, which outlives a test that fails.
func (c *Cluster) keepLogs() {
	c.t.Helper()
	dir, err := os.MkdirTemp("", "holdfast-chaos-")
	if err != nil {
		c.t.Fatal(err)
	}
	c.Logs = dir
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("logs of all processes, the history and its pictures are left in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
}
