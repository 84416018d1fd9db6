package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/pace"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Defaults of Limits. A hot call costs a server about 70 microseconds of
// processor time: a caller at the default rate keeps a fourteenth of one core busy,
// and one that keeps its tokens until RefreshAfter needs one call an hour for each.
const (
	DefaultCallerRate  = 1000
	DefaultCallerBurst = 2000
	// LeastBurst lets a batch of the greatest size through.
	LeastBurst = 100
	// DefaultConnections and DefaultStrangers take one file each; a connection
	// holds about 55 KB and a stranger in its handshake about 20.
	DefaultConnections = 10_000
	DefaultStrangers   = 1000
	// DefaultWatches at once, of all callers and of each.
	DefaultWatches          = 20_000
	DefaultWatchesPerCaller = 2000
	// GreatestRate of calls a second, and of a burst, that can be asked for.
	GreatestRate = 1_000_000
)

// Rate bounds the calls of one caller. A batch counts each of its requests, and a
// listing, a search of the record, or what is no request, as a batch of the greatest size.
type Rate struct {
	// PerSecond that it may make for ever, and Burst at once after a pause.
	PerSecond, Burst int
}

func (r Rate) validate(what string) error {
	if r.PerSecond < 1 || r.PerSecond > GreatestRate || r.Burst < LeastBurst || r.Burst > GreatestRate {
		return fmt.Errorf("rpc: limits: %s: want a rate from 1 to %d and a burst from %d to %[2]d", what, GreatestRate, LeastBurst)
	}
	return nil
}

// Limits of what callers may ask for. The zero value means the defaults.
type Limits struct {
	// Caller is the rate of each caller whom Callers does not name; zero: the defaults.
	Caller Rate
	// Callers have rates of their own, by name.
	Callers map[string]Rate
	// Connections that may stand at once and have shown who they are, and
	// Strangers that have not yet; zero: the defaults.
	Connections, Strangers int
	// ConnectionsPerCaller are those of one caller that may stand at once; zero: half of Connections.
	ConnectionsPerCaller int
	// Watches that may stand at once, and those of one caller; zero: the defaults.
	Watches, WatchesPerCaller int
}

// HalfOf connections is what one caller may have by default: enough for a fleet on
// one certificate, and whoever steals one keeps nobody else out.
func HalfOf(connections int) int { return (connections + 1) / 2 }

func (l *Limits) applyDefaults() error {
	if l.Caller == (Rate{}) {
		l.Caller = Rate{DefaultCallerRate, DefaultCallerBurst}
	}
	if l.Connections == 0 {
		l.Connections = DefaultConnections
	}
	if l.ConnectionsPerCaller == 0 {
		l.ConnectionsPerCaller = HalfOf(l.Connections)
	}
	if l.Strangers == 0 {
		l.Strangers = DefaultStrangers
	}
	if l.Watches == 0 {
		l.Watches = DefaultWatches
	}
	if l.WatchesPerCaller == 0 {
		l.WatchesPerCaller = DefaultWatchesPerCaller
	}
	errs := []error{l.Caller.validate("Caller")}
	for name, r := range l.Callers {
		errs = append(errs, r.validate("Callers["+name+"]"))
	}
	return errors.Join(errs...)
}

// limiter holds callers to their rates. Who is refused for another reason is
// held to them as well, since a refusal costs as much as an answer.
type limiter struct {
	began   time.Time
	log     *slog.Logger
	limits  Limits
	callers *pace.Table
	limited prometheus.Counter
}

func newLimiter(l Limits, began time.Time, log *slog.Logger, limited prometheus.Counter) *limiter {
	r := &limiter{began: began, log: log, limits: l, limited: limited}
	r.callers = pace.NewTable(func(name string) pace.Limit {
		rate := r.rate(name)
		return pace.NewLimit(rate.PerSecond, rate.Burst)
	})
	return r
}

func (l *limiter) rate(name string) Rate {
	if own, ok := l.limits.Callers[name]; ok {
		return own
	}
	return l.limits.Caller
}

// cost is how many calls a request counts as.
func cost(req any) int {
	switch req := req.(type) {
	case *holdfastv1.GetAccessTokenRequest:
		if req.GetGrant() != nil {
			return 1
		}
	case *holdfastv1.BatchGetAccessTokensRequest:
		if n := len(req.GetRequests()); n > 0 {
			return min(n, LeastBurst) // a longer one is refused as invalid
		}
	case *holdfastv1.ListMyGrantsRequest, *holdfastv1.ListGrantsRequest, *holdfastv1.WhoHadRequest:
		return LeastBurst // they read many records for one answer
	}
	if marked(req) {
		return LeastBurst // reading it may have cost as much
	}
	return 1
}

// take counts a call, or refuses it and reads its connection more slowly. It takes no
// lock that callers share and allocates nothing for a known caller that is not refused.
func (l *limiter) take(c *call, req any, now time.Time) error {
	name, n := c.caller.Name, cost(req)
	since := now.Sub(l.began)
	bucket := l.callers.Find(name, since)
	wait := bucket.Take(since, n)
	if wait == 0 {
		return nil
	}
	l.limited.Add(float64(n))
	if c.wire != nil {
		c.wire.slow(wait)
	}
	rate := l.rate(name)
	if bucket.Tell(since) {
		l.log.Warn("a caller asks for more than it may and is refused", "caller", name,
			"rate", rate.PerSecond, "burst", rate.Burst, "mend", "let it keep its tokens until refresh_after, or raise limits.caller_rate, or its own in limits.callers")
	}
	return &broker.Error{
		Reason: broker.ReasonCallerRateLimited, RetryAfter: wait, Metadata: map[string]string{"limit": "caller_rate"},
		Message: fmt.Sprintf("caller %q makes more than %d calls a second (each request of a batch counts, and a listing as %d): keep a token until its refresh_after instead of asking for each use; "+
			"an operator can raise limits.caller_rate, or this caller's own rate in limits.callers", name, rate.PerSecond, LeastBurst),
	}
}
