package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/cmd/holdfast/reload"
)

// openPolicy puts the configured policies in force and follows their files.
func (n *Node) openPolicy() (*policy.Engine, error) {
	c := n.o.Config
	p := &policies{log: n.log, metrics: newPolicyMetrics(n.metrics), speak: rate.NewLimiter(1, 20), engine: policy.NewEngine(nil)}
	p.files = append(p.files, &policyFiles{what: "policy", read: c.PolicyOptions, use: func(s *policy.Set) {
		p.engine.Replace(s)
		if recheck := n.recheck.Load(); recheck != nil {
			(*recheck)()
		}
	}})
	if len(c.Policy.Shadow) > 0 {
		p.files = append(p.files, &policyFiles{what: "shadow policy", read: c.ShadowOptions, use: func(s *policy.Set) { p.engine.Shadow(s, p.differ) }})
	}
	for _, f := range p.files {
		if err := f.look(); err != nil {
			return nil, err
		}
	}
	if len(c.Policy.Files)+len(c.Policy.Shadow) == 0 {
		return p.engine, nil // nothing that could change
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stack.Serve("policy files", smallGrace, func() error {
		p.follow(ctx)
		return nil
	}, func(context.Context) error {
		cancel()
		return nil
	})
	return p.engine, nil
}

// policies keep an engine at what the files say.
type policies struct {
	engine  *policy.Engine
	files   []*policyFiles
	log     *slog.Logger
	metrics *policyMetrics
	// speak bounds the lines about differences; unsaid counts those left out.
	speak  *rate.Limiter
	unsaid atomic.Int64
}

// follow looks at the files until ctx ends.
func (p *policies) follow(ctx context.Context) {
	tick := time.NewTicker(reload.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look()
		}
	}
}

// look puts changed files in force. Those that can not be used change nothing:
// who had the say before keeps it, and the log, once, the status and a metric say so.
func (p *policies) look() {
	var complaints []string
	for _, f := range p.files {
		before, said := f.version, f.failing
		err := f.look()
		if err != nil {
			complaint := fmt.Sprintf("the changed %s files cannot be used, version %s stays in force: %s", f.what, f.version, inOneLine(err))
			complaints = append(complaints, complaint)
			if said != f.failing {
				p.log.Error("changed policy files cannot be used; what they held before stays in force",
					"which", f.what, "version", f.version, "error", err)
			}
		} else if f.version != before {
			p.log.Info("policy files read again after a change", "which", f.what, "version", f.version, "before", before)
		}
	}
	p.engine.Complain(strings.Join(complaints, "; "))
	p.metrics.stale.Set(one(len(complaints) > 0))
}

// inOneLine is the first problem and how many there are besides.
func inOneLine(err error) string {
	first, rest, more := strings.Cut(err.Error(), "\n")
	if !more {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, 1+strings.Count(rest, "\n"))
}

// policyFiles are the files of one set, and what they held when they were used.
type policyFiles struct {
	what    string
	read    func() (policy.Options, error)
	use     func(*policy.Set)
	used    []policy.Source
	version string
	// seen is how the files were found changed by the last look.
	seen []policy.Source
	// failing is why the files as they are now can not be used; empty: they can.
	failing string
}

// look uses the files if they are others than before. Content is compared, not
// times, as package reload does. But for the first time, they are used once two
// looks find the same: the beginning of a file that is being written may be
// valid, and lack the forbid at its end.
func (f *policyFiles) look() error {
	options, err := f.read()
	before := f.seen
	f.seen = options.Sources
	if err == nil && f.version != "" {
		if sameSources(options.Sources, f.used) {
			f.failing = ""
			return nil
		}
		if !sameSources(options.Sources, before) {
			return f.complaint()
		}
	}
	var set *policy.Set
	if err == nil {
		set, err = policy.Load(options)
	}
	if err != nil {
		f.failing = err.Error()
		return err
	}
	f.use(set)
	f.used, f.version, f.failing = options.Sources, set.Version(), ""
	return nil
}

// complaint is what the last look that came to something complained of.
func (f *policyFiles) complaint() error {
	if f.failing == "" {
		return nil
	}
	return errors.New(f.failing)
}

func sameSources(a, b []policy.Source) bool { return slices.EqualFunc(a, b, sameSource) }

func sameSource(a, b policy.Source) bool { return a.File == b.File && bytes.Equal(a.Text, b.Text) }

// differ counts a call that the shadow set decides otherwise, and logs it unless
// there are too many.
func (p *policies) differ(d policy.Difference) {
	verdict := "deny"
	if d.Shadow.Allow {
		verdict = "allow"
	}
	p.metrics.differences.WithLabelValues(string(d.Request.Action), verdict).Inc()
	if !p.speak.Allow() {
		p.unsaid.Add(1)
		return
	}
	p.log.Warn("the shadow policy would decide otherwise", "caller", d.Request.Caller, "action", string(d.Request.Action),
		"grant", d.Request.Address.String(), "allowed", d.Enforced.Allow, "rule", d.Enforced.Rule,
		"shadow", verdict, "shadow_rule", d.Shadow.Rule, "not_logged_before", p.unsaid.Swap(0))
}

type policyMetrics struct {
	stale       prometheus.Gauge
	differences *prometheus.CounterVec
}

func newPolicyMetrics(reg prometheus.Registerer) *policyMetrics {
	m := &policyMetrics{
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "holdfast_policy_stale", Help: "1 while changed policy files cannot be used and what they held before is in force.",
		}),
		differences: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_policy_shadow_differences_total",
			Help: "Calls that the shadow policy would decide otherwise, by action and its verdict.",
		}, []string{"action", "shadow"}),
	}
	reg.MustRegister(m.stale, m.differences)
	return m
}
