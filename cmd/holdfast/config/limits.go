package config

import (
	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/rpc"
)

// DefaultHTTPConnections of each HTTP listener.
const DefaultHTTPConnections = 1000

// otherFiles are what the process has open beside connections: the store, logs,
// certificates and its own connections to the provider.
const otherFiles = 500

// Files is how many open files the process needs for all of it.
func (l *Limits) Files() int {
	const httpListeners, kinds = 2, 2
	return l.Connections + l.Strangers + httpListeners*kinds*l.HTTPConnections + otherFiles
}

// Limits of what callers may ask for. A field that is left out, or 0, has its default.
type Limits struct {
	// CallerRate is how many calls a second each caller may make for ever, 1 to
	// 1000000; default 1000. Each request of a batch counts as one, and a page of
	// a listing, or a WhoHad, as 100.
	CallerRate int `yaml:"caller_rate"`
	// CallerBurst is how many it may make at once after a pause, 100 to 1000000;
	// default twice CallerRate, and at least 100.
	CallerBurst int `yaml:"caller_burst"`
	// Callers have rates of their own.
	Callers []CallerLimit `yaml:"callers"`
	// GrantRate is how many tokens of one grant are handed out a second to all
	// callers together, 1 to 1000000, and GrantBurst how many at once after a
	// pause; defaults 2000 and twice GrantRate.
	GrantRate  int `yaml:"grant_rate"`
	GrantBurst int `yaml:"grant_burst"`
	// WaitingCalls for refreshes at once, 1 to 1000000, default 10000, and
	// WaitingCallsPerGrant, default 1000.
	WaitingCalls         int `yaml:"waiting_calls"`
	WaitingCallsPerGrant int `yaml:"waiting_calls_per_grant"`
	// Connections of callers that may stand at once, 1 to 1000000; default 10000.
	// Each takes a file of the process. Strangers are those that have not shown yet
	// who they are; the one who stands longest gives way to the next. Default 1000.
	Connections int `yaml:"connections"`
	Strangers   int `yaml:"strangers"`
	// ConnectionsPerCaller are those of one caller, 1 to 1000000; default half of
	// Connections, so that one stolen certificate does not take all places.
	ConnectionsPerCaller int `yaml:"connections_per_caller"`
	// Watches are the streams of WatchAccessToken that may stand at once, 1 to
	// 1000000, default 20000, and WatchesPerCaller those of one caller, default 2000.
	Watches          int `yaml:"watches"`
	WatchesPerCaller int `yaml:"watches_per_caller"`
	// HTTPConnections of each HTTP listener that may stand at once without a
	// request being answered, and as many with; default 1000.
	HTTPConnections int `yaml:"http_connections"`
}

// CallerLimit is the rate of one caller.
type CallerLimit struct {
	// Name as in callers.
	Name string `yaml:"name"`
	// Rate and Burst as CallerRate and CallerBurst. Defaults: CallerRate, and twice
	// Rate, or CallerBurst if Rate is left out as well.
	Rate  int `yaml:"rate"`
	Burst int `yaml:"burst"`
}

// RPC returns the limits in the terms of the server.
func (l *Limits) RPC() rpc.Limits {
	out := rpc.Limits{
		Caller: rpc.Rate{PerSecond: l.CallerRate, Burst: l.CallerBurst}, Callers: map[string]rpc.Rate{},
		Connections: l.Connections, Strangers: l.Strangers, ConnectionsPerCaller: l.ConnectionsPerCaller,
		Watches: l.Watches, WatchesPerCaller: l.WatchesPerCaller,
	}
	for _, c := range l.Callers {
		out.Callers[c.Name] = rpc.Rate{PerSecond: c.Rate, Burst: c.Burst}
	}
	return out
}

// Broker returns the limits in the terms of the broker.
func (l *Limits) Broker() broker.Limits {
	return broker.Limits{GrantRate: l.GrantRate, GrantBurst: l.GrantBurst, Waiting: l.WaitingCalls, WaitingPerGrant: l.WaitingCallsPerGrant}
}

func (l *Limits) applyDefaults() {
	or(&l.CallerRate, rpc.DefaultCallerRate)
	or(&l.CallerBurst, burstFor(l.CallerRate))
	or(&l.GrantRate, broker.DefaultGrantRate)
	or(&l.GrantBurst, burstFor(l.GrantRate))
	or(&l.WaitingCalls, broker.DefaultWaiting)
	or(&l.WaitingCallsPerGrant, broker.DefaultWaitingPerGrant)
	or(&l.Connections, rpc.DefaultConnections)
	or(&l.ConnectionsPerCaller, rpc.HalfOf(l.Connections))
	or(&l.Strangers, rpc.DefaultStrangers)
	or(&l.Watches, rpc.DefaultWatches)
	or(&l.WatchesPerCaller, rpc.DefaultWatchesPerCaller)
	or(&l.HTTPConnections, DefaultHTTPConnections)
	for i := range l.Callers {
		c := &l.Callers[i]
		if c.Rate == 0 {
			or(&c.Burst, l.CallerBurst)
		}
		or(&c.Rate, l.CallerRate)
		or(&c.Burst, burstFor(c.Rate))
	}
}

// burstFor is two seconds' worth, within what a burst can be.
func burstFor(rate int) int {
	return min(max(min(rate, rpc.GreatestRate)*2, rpc.LeastBurst), rpc.GreatestRate)
}

func or(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}
