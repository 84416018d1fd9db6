package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
)

func TestConnectionsFitTheFilesOfTheProcess(t *testing.T) {
	for _, row := range []struct {
		name  string
		files uint64
		want  config.Limits
		warns bool
	}{
		{"enough", 20_000, config.Limits{Connections: 10_000, Strangers: 1000, HTTPConnections: 1000}, false},
		{"not known", 0, config.Limits{Connections: 10_000, Strangers: 1000, HTTPConnections: 1000}, false},
		{"a tenth", 1550, config.Limits{Connections: 1000, Strangers: 100, HTTPConnections: 100}, true},
		{"next to none", 1, config.Limits{Connections: 10, Strangers: 10, HTTPConnections: 10}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var log bytes.Buffer
			c := &config.Config{Limits: config.Limits{Connections: 10_000, Strangers: 1000, HTTPConnections: 1000}}
			n := &Node{o: Options{Config: c}, log: slog.New(slog.NewTextHandler(&log, nil))}
			n.fitFiles(row.files)
			l := c.Limits
			if l.Connections != row.want.Connections || l.Strangers != row.want.Strangers || l.HTTPConnections != row.want.HTTPConnections {
				t.Errorf("got %+v, want %+v", l, row.want)
			}
			if strings.Contains(log.String(), "LimitNOFILE") != row.warns {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}
