package simulation

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// point is a step of a rotation at which something can go wrong.
type point string

const (
	atAnnounce point = "announce" // the durable write of Begin
	atSettle   point = "settle"   // the durable write of Settle
	atDial     point = "dial"
	atWire     point = "wire" // from before the first byte to after the answer
)

// harm is one thing that goes wrong.
type harm string

const (
	calm           harm = ""
	crashBefore    harm = "crash before"
	crashAfter     harm = "crash after"
	freezeBefore   harm = "pause past the lease before"
	freezeAfter    harm = "pause past the lease after"
	unknownKept    harm = "unknown outcome, kept"
	unknownLost    harm = "unknown outcome, lost"
	refused        harm = "store refuses once"
	refusedOn      harm = "store refuses for a while"
	syncFails      harm = "sync fails, the store restarts and forgets"
	machineFails   harm = "the machine crashes"
	dialRefused    harm = "connection refused"
	dialHangs      harm = "no answer to the connection"
	windowPause    harm = "pause between guard and first byte"
	requestCut     harm = "connection lost inside the request"
	answerCut      harm = "connection lost inside the answer"
	crashMidAnswer harm = "crash inside the answer"
	byProvider     harm = "provider"
)

// odds of each harm at each point.
var odds = map[point][]struct {
	harm   harm
	weight int
}{
	atAnnounce: {{crashBefore, 2}, {crashAfter, 3}, {freezeBefore, 2}, {freezeAfter, 4}, {unknownKept, 3}, {unknownLost, 3}, {refused, 3}, {refusedOn, 2}, {syncFails, 1}, {machineFails, 1}},
	atSettle:   {{crashBefore, 4}, {crashAfter, 3}, {freezeBefore, 5}, {freezeAfter, 2}, {unknownKept, 3}, {unknownLost, 3}, {refused, 3}, {refusedOn, 3}, {syncFails, 1}, {machineFails, 1}},
	atDial:     {{crashBefore, 2}, {freezeBefore, 1}, {dialRefused, 4}, {dialHangs, 2}},
	atWire: {{crashBefore, 2}, {windowPause, 1}, {requestCut, 3}, {crashAfter, 3}, {freezeAfter, 2},
		{answerCut, 4}, {crashMidAnswer, 2}, {byProvider, 30}},
}

// fault is one harm with its size.
type fault struct {
	harm harm
	d    time.Duration
	// bytes until a connection is cut.
	bytes    int
	provider *atlassiansim.Fault
}

// maxDoubt is how old the oldest doubt may be for another fault to strike: a
// loss that nobody could avoid proves nothing, so the world leaves enough of the
// leeway to those who use it. Weather "beyond" does not.
const maxDoubt = 3 * time.Minute

// mayHurt is called with mu held.
func (w *world) mayHurt() bool {
	if !w.rough {
		return false
	}
	if w.weather.beyond {
		return true
	}
	now := time.Now()
	for _, g := range w.grants {
		if first, open := g.durable.State.FirstAnnounced(); open && now.Sub(first) > maxDoubt {
			return false
		}
	}
	return true
}

// pick decides what goes wrong at a step of g (nil: of nobody in particular)
// at l, and writes it into the schedule.
func (w *world) pick(p point, l *life, g *grant) fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !l.ready.Load() || !w.mayHurt() {
		return fault{}
	}
	index := -1
	if g != nil {
		index = g.index
	}
	if p == atWire && g != nil && g.racing {
		return fault{harm: byProvider, provider: &atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 3500, GrantType: "refresh_token", Count: 1}}
	}
	if p == atSettle && g != nil && g.late {
		g.late = false
		w.note(l, g, "stands still before it settles")
		return fault{harm: freezeBefore, d: timing.Lease + 10*time.Second}
	}
	key := fmt.Sprint(p, l.replica.index, index)
	w.steps[key]++
	d := dice(w.seed, string(p), l.replica.index, index, w.steps[key])
	rate := w.weather.rate
	switch p {
	case atAnnounce, atSettle:
		rate /= 4
	case atDial:
		rate /= 10
	}
	if d.Float64() >= rate {
		return fault{}
	}
	f := w.draw(d, p, g)
	if f.harm != calm {
		w.note(l, g, "%s: %s%s", p, f.harm, f.size())
		w.stats.faults++
	}
	return f
}

func (w *world) draw(d *rand.Rand, p point, g *grant) fault {
	sum := 0
	for _, o := range odds[p] {
		sum += o.weight
	}
	n := d.IntN(sum)
	var f fault
	for _, o := range odds[p] {
		if n -= o.weight; n < 0 {
			f.harm = o.harm
			break
		}
	}
	switch f.harm {
	case freezeBefore, freezeAfter:
		f.d = between(d, timing.Lease, 140*time.Second)
		if d.IntN(3) == 0 {
			f.d = between(d, time.Second, timing.Lease)
		}
	case windowPause:
		// A longer stop exactly there is the window that DECISIONS.md names.
		f.d = between(d, time.Second, timing.HTTPTimeout-100*time.Millisecond)
	case refusedOn, syncFails:
		f.d = between(d, time.Second, 40*time.Second)
	case requestCut:
		f.bytes = 1 + d.IntN(300)
	case answerCut, crashMidAnswer:
		f.bytes = 1 + d.IntN(600)
	case byProvider:
		f.provider = w.providerFault(d, g)
		if f.provider == nil {
			return fault{}
		}
	}
	return f
}

// providerFault is what the provider does to one request of g. Refusals that
// it does not mean come at most once in five minutes, and not to a family in doubt:
// a provider that goes on refusing cannot be told from one that has ended the family.
func (w *world) providerFault(d *rand.Rand, g *grant) *atlassiansim.Fault {
	kinds := []atlassiansim.Fault{
		{Kind: atlassiansim.FaultDropBeforeAnswer}, {Kind: atlassiansim.FaultDropAfterHeaders}, {Kind: atlassiansim.FaultDropMidBody},
		{Kind: atlassiansim.FaultDropBeforeAnswer, KeepToken: true},
		{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 500 + d.IntN(100_000)},
		// No longer than the broker waits: a request that is processed after its
		// successor was settled would end the strict provider's family whatever a client does.
		{Kind: atlassiansim.FaultDelayRequest, DelayMillis: 500 + d.IntN(3500)},
		{Kind: atlassiansim.FaultHang, DelayMillis: 1000 + d.IntN(100_000)}, {Kind: atlassiansim.FaultHang, KeepToken: true, DelayMillis: 20_000},
		{Kind: atlassiansim.FaultGzipUnlabelled}, {Kind: atlassiansim.FaultGzipMislabelled}, {Kind: atlassiansim.FaultTruncatedJSON},
		{Kind: atlassiansim.FaultHTML}, {Kind: atlassiansim.FaultHTML, KeepToken: true},
		{Kind: atlassiansim.FaultStatus, Status: 502}, {Kind: atlassiansim.FaultStatus, Status: 502},
		{Kind: atlassiansim.FaultStatus, Status: 500, KeepToken: true}, {Kind: atlassiansim.FaultStatus, Status: 504, KeepToken: true},
		{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 5 + d.IntN(30)},
		{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 5 + d.IntN(30), RetryAfterForm: "date"}, {Kind: atlassiansim.FaultRateLimit, RetryAfterForm: "none"},
		{Kind: atlassiansim.FaultOAuthError, Error: "invalid_request", ErrorDescription: "Due to multiple concurrent requests, the token could not be refreshed; retry"},
		{Kind: atlassiansim.FaultNoRefreshToken}, {Kind: atlassiansim.FaultSameRefreshToken},
		{Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "missing"}, {Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "string"}, {Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "negative"},
		{Kind: atlassiansim.FaultRefuse}, {Kind: atlassiansim.FaultRefuse}, {Kind: atlassiansim.FaultUnknownAtFirst, UnknownMillis: 100 + d.IntN(3000)},
	}
	f := kinds[d.IntN(len(kinds))]
	if f.Kind == atlassiansim.FaultRefuse || f.Kind == atlassiansim.FaultUnknownAtFirst {
		_, open := g.clear()
		if w.weather.beyond || open || time.Since(g.refusedAt) < 5*time.Minute {
			return nil
		}
		g.refusedAt = time.Now()
	}
	if open := g.durable.State.Doubt != nil; open && (f.Kind == atlassiansim.FaultNoRefreshToken || f.Kind == atlassiansim.FaultSameRefreshToken) {
		// A provider that has rotated and then says that it does not rotate.
		return nil
	}
	f.GrantType, f.Count = "refresh_token", 1
	return &f
}

// armFor arms what the provider does to the next request of g, in place of what
// an earlier request did not live to see.
func (w *world) armFor(g *grant, f *atlassiansim.Fault) {
	if g == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.armed != "" {
		w.sim.RemoveFault(g.armed)
	}
	g.armed = ""
	if f == nil {
		return
	}
	id, err := w.sim.AddFault(*f)
	if err != nil {
		w.fail(0, g, "arming a fault: %v", err)
	}
	g.armed = id
}

// clear returns the present announcement of g's token, but for the one attempt
// that is being made just now.
func (g *grant) clear() (time.Time, bool) {
	if d := g.durable.State.Doubt; d != nil {
		return d.FirstAnnounced, true
	}
	return time.Time{}, g.durable.State.Suspicion != nil
}

func (f fault) size() string {
	var s []string
	if f.d > 0 {
		s = append(s, f.d.Round(time.Millisecond).String())
	}
	if f.bytes > 0 {
		s = append(s, fmt.Sprint(f.bytes, " bytes"))
	}
	if p := f.provider; p != nil {
		s = append(s, string(p.Kind))
		if p.KeepToken {
			s = append(s, "not processed")
		}
		if p.DelayMillis > 0 {
			s = append(s, (time.Duration(p.DelayMillis) * time.Millisecond).String())
		}
	}
	if len(s) == 0 {
		return ""
	}
	return " (" + strings.Join(s, ", ") + ")"
}

// note adds a line to the schedule. Called with mu held.
func (w *world) note(l *life, g *grant, format string, args ...any) {
	line := fmt.Sprintf("%9s ", time.Since(w.began).Round(time.Millisecond))
	if l != nil {
		line += fmt.Sprintf("replica %d.%d ", l.replica.index, l.number)
	}
	if g != nil {
		line += fmt.Sprintf("%s ", g.address)
	}
	w.schedule = append(w.schedule, entry{g, line + fmt.Sprintf(format, args...)})
}

// entry is a line of the schedule; about a grant, or (nil) all of them.
type entry struct {
	grant *grant
	text  string
}
