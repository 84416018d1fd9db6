package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"google.golang.org/grpc/credentials"
)

// otlpTimeout bounds one export, its repeats included.
const otlpTimeout = 10 * time.Second

// otlp sends audit lines to an OpenTelemetry collector: each line is the body of
// one log record, unchanged, so that the chain can be verified there.
type otlp struct{ exporter *otlploggrpc.Exporter }

// newOTLP does not connect yet. The environment's OTEL variables are not asked for
// the endpoint, but headers that they set are sent.
func newOTLP(endpoint, caFile string) (*otlp, error) {
	options := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(endpoint), otlploggrpc.WithTimeout(otlpTimeout)}
	if strings.HasPrefix(endpoint, "https://") {
		c := &tls.Config{MinVersion: tls.VersionTLS12}
		if caFile != "" {
			pem, err := os.ReadFile(caFile)
			if err != nil {
				return nil, fmt.Errorf("reading the collector's CA: %w", err)
			}
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("reading the collector's CA: %s holds no certificate in PEM form", caFile)
			}
		}
		options = append(options, otlploggrpc.WithTLSCredentials(credentials.NewTLS(c)))
	}
	e, err := otlploggrpc.New(context.Background(), options...)
	if err != nil {
		return nil, fmt.Errorf("making the OTLP exporter: %w", err)
	}
	return &otlp{e}, nil
}

// Name implements audit.Exporter.
func (*otlp) Name() string { return "otlp" }

// otlpMessage in bytes of lines: a collector's default is to take 4 MiB at once.
const otlpMessage = 1 << 20

// Export implements audit.Exporter.
func (o *otlp) Export(ctx context.Context, lines [][]byte) error {
	for len(lines) > 0 {
		n, size := 0, 0
		for n < len(lines) && (n == 0 || size+len(lines[n]) <= otlpMessage) {
			size += len(lines[n])
			n++
		}
		if err := o.send(ctx, lines[:n]); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}

func (o *otlp) send(ctx context.Context, lines [][]byte) error {
	records := make([]sdklog.Record, len(lines))
	now := time.Now()
	for i, text := range lines {
		records[i].SetEventName("holdfast.audit")
		records[i].SetObservedTimestamp(now)
		records[i].SetSeverity(log.SeverityInfo)
		records[i].SetBody(attribute.StringValue(string(text)))
	}
	return o.exporter.Export(ctx, records)
}

// Close implements audit.Exporter.
func (o *otlp) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), smallGrace)
	defer cancel()
	return o.exporter.Shutdown(ctx)
}
