package config

import (
	"strconv"

	"github.com/holdfast-io/holdfast/broker/rpc"
)

func (c *Config) validateLimits(r *report) {
	l := &c.Limits
	r.within("limits.caller_rate", l.CallerRate, 1)
	r.within("limits.caller_burst", l.CallerBurst, rpc.LeastBurst)
	r.within("limits.grant_rate", l.GrantRate, 1)
	r.within("limits.grant_burst", l.GrantBurst, 1)
	r.within("limits.waiting_calls", l.WaitingCalls, 1)
	r.within("limits.waiting_calls_per_grant", l.WaitingCallsPerGrant, 1)
	r.within("limits.connections", l.Connections, 1)
	r.within("limits.connections_per_caller", l.ConnectionsPerCaller, 1)
	r.within("limits.strangers", l.Strangers, 10)
	r.within("limits.watches", l.Watches, 1)
	r.within("limits.watches_per_caller", l.WatchesPerCaller, 1)
	r.within("limits.http_connections", l.HTTPConnections, 10)
	seen := map[string]bool{}
	for i, one := range l.Callers {
		path := "limits.callers[" + strconv.Itoa(i) + "]"
		r.within(path+".rate", one.Rate, 1)
		r.within(path+".burst", one.Burst, rpc.LeastBurst)
		if !r.required(path+".name", one.Name, "give the caller's name, as in callers") {
			continue
		}
		if seen[one.Name] {
			r.add(path+".name", "%q is listed twice; keep one", one.Name)
		}
		seen[one.Name] = true
	}
}

// within reports a number below least or above all that a limit can be.
func (r *report) within(path string, value, least int) {
	const most = rpc.GreatestRate
	if !r.broken(path) && (value < least || value > most) {
		r.add(path, "%d: want %d to %d", value, least, most)
	}
}
