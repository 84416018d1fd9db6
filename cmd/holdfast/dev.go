package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devmode"
)

func newDev(io streams) *cobra.Command {
	o := devmode.Options{Out: io.out}
	level := ""
	var memory memoryFlag
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a broker with a simulated provider and two grants, for development only",
		Long: `Run a broker with a simulated provider and two consented grants on loopback, and
print what can be done with it. Everything lies in one directory, which a second
start finds again. For development only: keys lie beside the data, and the connect
page is plain http.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(io.err, level, "text")
			if err != nil {
				return err
			}
			if err := memory.apply(log); err != nil {
				return err
			}
			o.Log, o.Self, o.Version = log, self(), version()
			return devmode.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", client.DevDir, "directory that holds everything")
	f.IntVar(&o.GRPCPort, "grpc-port", devmode.DefaultGRPCPort, "port of the contract; 0: any free one")
	f.IntVar(&o.HTTPPort, "http-port", devmode.DefaultHTTPPort, "port of the connect page; 0: any free one")
	f.IntVar(&o.MetricsPort, "metrics-port", devmode.DefaultMetricsPort, "port of /metrics; 0: any free one")
	f.IntVar(&o.SimPort, "sim-port", devmode.DefaultSimPort, "port of the simulated provider; 0: any free one")
	f.DurationVar(&o.AccessTTL, "access-ttl", 0, "life of the simulated provider's access tokens, in whole seconds, to see renewals soon; 0: 1h, as at Atlassian")
	f.DurationVar(&o.AccessGrace, "access-grace", 0, "how long an old access token lives on after a rotation, in whole seconds; half of it is how long before its end a token in use is renewed; 0: 10m, as at Atlassian")
	memory.bind(f)
	f.StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	return cmd
}

// self is how a shell calls this program again. What `go run` built lies in a
// directory that is gone afterwards.
func self() string {
	if exe, err := os.Executable(); err != nil || strings.Contains(exe, "go-build") {
		return "go run ./cmd/holdfast"
	}
	return os.Args[0]
}
