package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/audit"
)

// Audit says where the record of every hand-out goes. The first of file, stdout
// and otlp that is set is the one without which nothing is handed out; the others
// get copies, and what they can not take in time is dropped, counted and warned of.
type Audit struct {
	// File that lines are appended to. `holdfast audit who-had` needs it.
	File string `yaml:"file"`
	// RotateSize at which the file is renamed and a new one begun, with a unit:
	// "256MiB". Default: never.
	RotateSize string `yaml:"rotate_size"`
	// Keep is how many renamed files are kept, KeepFor how long; default: all of
	// them, for ever. They need rotate_size.
	Keep    int           `yaml:"keep"`
	KeepFor time.Duration `yaml:"keep_for"`
	// Level: written (default: a record survives a crash of the process) or
	// durable (it survives a power cut: each is synced first).
	Level string `yaml:"level"`
	// Stdout gets the lines as well. Default false.
	Stdout bool `yaml:"stdout"`
	// OTLP collector that gets the lines as log records.
	OTLP AuditOTLP `yaml:"otlp"`
	// CheckpointFile gets the newest signed checkpoint: put it on another disk, or
	// fetch it from there. Default: none.
	CheckpointFile string `yaml:"checkpoint_file"`
	// CheckpointEvery is how often one is made while there are records, 1s to 24h; default 1m.
	CheckpointEvery time.Duration `yaml:"checkpoint_every"`

	// RotateBytes is RotateSize in bytes, set by validation.
	RotateBytes int64 `yaml:"-"`
}

// AuditOTLP is an OpenTelemetry collector, by gRPC.
type AuditOTLP struct {
	// Endpoint: https://host:port, or http://host:port on a network that nobody else reads.
	Endpoint string `yaml:"endpoint"`
	// CAFile replaces the system's certificates; default: the system's.
	CAFile string `yaml:"ca_file"`
}

// leastRotate keeps a unit that was forgotten from making a file of each record.
const leastRotate = 1 << 20

func (c *Config) validateAudit(r *report) {
	a := &c.Audit
	if a.File == "" && !a.Stdout && a.OTLP.Endpoint == "" {
		r.required("audit.file", a.File, "give a file; without a writable record nothing is handed out")
	}
	if a.Level == "" {
		a.Level = string(audit.Written)
	}
	r.oneOf("audit.level", a.Level, string(audit.Written), string(audit.Durable))
	if a.File == "" && a.Level == string(audit.Durable) {
		r.add("audit.level", "durable needs audit.file: nothing else can be synced")
	}
	if a.RotateSize != "" {
		var err error
		if a.RotateBytes, err = parseSize(a.RotateSize); err != nil {
			r.add("audit.rotate_size", "%v", err)
		} else if a.RotateBytes < leastRotate {
			r.add("audit.rotate_size", "%s: want at least 1MiB", a.RotateSize)
		}
	}
	if (a.Keep != 0 || a.KeepFor != 0) && a.RotateSize == "" {
		r.add("audit.rotate_size", "missing; keep and keep_for are about files that were rotated")
	}
	if a.RotateSize != "" && a.File == "" {
		r.add("audit.rotate_size", "there is no audit.file to rotate; leave it out")
	}
	if a.Keep < 0 {
		r.add("audit.keep", "%d: want how many files to keep, or 0 for all", a.Keep)
	}
	if a.KeepFor < 0 {
		r.add("audit.keep_for", "%v: want a duration, or 0 for ever", a.KeepFor)
	}
	if a.CheckpointEvery != 0 && (a.CheckpointEvery < time.Second || a.CheckpointEvery > 24*time.Hour) {
		r.add("audit.checkpoint_every", "%v: want 1s to 24h", a.CheckpointEvery)
	}
	c.validateAuditOTLP(r)
}

func (c *Config) validateAuditOTLP(r *report) {
	o := &c.Audit.OTLP
	address, secure := strings.CutPrefix(o.Endpoint, "https://")
	if !secure {
		address, _ = strings.CutPrefix(o.Endpoint, "http://")
	}
	host, port, err := net.SplitHostPort(address)
	if n, perr := strconv.ParseUint(port, 10, 16); err == nil && (perr != nil || n == 0) {
		err = strconv.ErrRange
	}
	switch {
	case o.Endpoint == "" && o.CAFile != "":
		r.add("audit.otlp.endpoint", "missing; give the collector's URL, such as https://collector.example.com:4317")
	case o.Endpoint != "" && (err != nil || address == o.Endpoint || host == "" || strings.ContainsAny(host, "/?#@")):
		r.add("audit.otlp.endpoint", "%q: want https://host:port", o.Endpoint)
	case o.Endpoint != "" && !secure:
		r.warn("audit.otlp.endpoint", "the audit record leaves this machine unencrypted: use https")
	}
	if o.CAFile != "" && o.Endpoint != "" && !secure {
		r.add("audit.otlp.ca_file", "the endpoint is http, which no certificate protects: use https, or leave it out")
	}
	if o.CAFile != "" {
		r.readable("audit.otlp.ca_file", o.CAFile, "give a PEM file")
	}
}

// parseSize reads a number of bytes with a unit.
func parseSize(text string) (int64, error) {
	for _, unit := range []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err == nil && n > 0 && n <= 1<<20 {
			return n * unit.size, nil
		}
	}
	return 0, fmt.Errorf("%q: want a number with a unit, KiB, MiB or GiB, such as 256MiB", text)
}
