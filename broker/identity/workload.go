package identity

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// workloadPatience is how long the first answer of a Workload API is waited for.
const workloadPatience = 30 * time.Second

// Workload is the SPIFFE Workload API: it brings the bundles of trust domains
// and this process's own document, and renews both by itself.
type Workload struct {
	source *workloadapi.X509Source
	log    *slog.Logger
}

// OpenWorkload asks the Workload API at addr, e.g. "unix:///run/spire/agent.sock",
// and blocks until its first answer, for half a minute at most. The caller must
// Close it.
func OpenWorkload(ctx context.Context, addr string, log *slog.Logger) (*Workload, error) {
	first, cancel := context.WithTimeout(ctx, workloadPatience)
	defer cancel()
	source, err := workloadapi.NewX509Source(first, workloadapi.WithClientOptions(
		workloadapi.WithAddr(addr), workloadapi.WithLogger(spiffeLog{log}),
	))
	if err != nil {
		return nil, fmt.Errorf("asking the SPIFFE Workload API at %s: %w; is the agent running, the socket mounted, and this workload registered?", addr, err)
	}
	return &Workload{source, log}, nil
}

// ValidWorkload reports what is wrong with the address of a Workload API.
func ValidWorkload(addr string) error { return workloadapi.ValidateAddress(addr) }

// Close ends the connection to the Workload API.
func (w *Workload) Close() error { return w.source.Close() }

// Certificate returns this process's own document, for a TLS handshake.
func (w *Workload) Certificate() (*tls.Certificate, error) {
	svid, err := w.source.GetX509SVID()
	if err != nil {
		return nil, fmt.Errorf("asking for the own SPIFFE certificate: %w", err)
	}
	cert := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

// Feed gives t the bundles of its trust domains, now.
func (w *Workload) Feed(t *Trust) {
	var bundles []Bundle
	for td := range t.domains.trusted {
		b, err := w.source.GetX509BundleForTrustDomain(td)
		if err != nil {
			w.log.Error("the SPIFFE Workload API knows no bundle of a configured trust domain, so that its callers are refused; federate with it, or take it out of the configuration",
				"trust_domain", td.Name())
			continue
		}
		bundles = append(bundles, b)
	}
	t.SetBundles(bundles...)
}

// Follow feeds t at each change until ctx ends.
func (w *Workload) Follow(ctx context.Context, t *Trust) {
	for {
		w.Feed(t)
		select {
		case <-ctx.Done():
			return
		case <-w.source.Updated():
		}
	}
}

// spiffeLog passes on what go-spiffe says. Its errors are about one try, which
// it repeats: a warning here.
type spiffeLog struct{ log *slog.Logger }

func (l spiffeLog) Debugf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l spiffeLog) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l spiffeLog) Warnf(format string, args ...any)  { l.log.Warn(fmt.Sprintf(format, args...)) }
func (l spiffeLog) Errorf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }
