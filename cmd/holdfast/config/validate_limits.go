package config

import (
	"strconv"

	"github.com/holdfast-io/holdfast/broker/rpc"
)

func (c *Config) validateLimits(r *report) {
	l := &c.Limits
	r.within("limits.caller_rate", l.CallerRate, 1, rpc.GreatestRate)
	r.within("limits.caller_burst", l.CallerBurst, rpc.LeastBurst, rpc.GreatestRate)
	const mostConnections = 1_000_000
	r.within("limits.connections", l.Connections, 1, mostConnections)
	r.within("limits.strangers", l.Strangers, 10, mostConnections)
	r.within("limits.http_connections", l.HTTPConnections, 10, mostConnections)
	seen := map[string]bool{}
	for i, one := range l.Callers {
		path := "limits.callers[" + strconv.Itoa(i) + "]"
		r.within(path+".rate", one.Rate, 1, rpc.GreatestRate)
		r.within(path+".burst", one.Burst, rpc.LeastBurst, rpc.GreatestRate)
		if !r.required(path+".name", one.Name, "give the caller's name, as in callers") {
			continue
		}
		if seen[one.Name] {
			r.add(path+".name", "%q is listed twice; keep one", one.Name)
		}
		seen[one.Name] = true
	}
}

// within reports a number out of its range.
func (r *report) within(path string, value, least, most int) {
	if !r.broken(path) && (value < least || value > most) {
		r.add(path, "%d: want %d to %d", value, least, most)
	}
}
