package rpc

import (
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// rawConnection is a caller's, by frames: no client of grpc's stands between.
type rawConnection struct {
	*http2.Framer
	began time.Time
}

func (r *rig) rawConnection(t *testing.T) *rawConnection {
	t.Helper()
	conn, err := r.lis.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secured := tls.Client(conn, &tls.Config{
		RootCAs: r.ca.pool, ServerName: "broker.test", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{r.ca.issue(mapped, time.Now().Add(time.Hour), false)},
	})
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(secured, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &rawConnection{http2.NewFramer(secured, secured), time.Now()}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// lasts reads frames until the server closes the connection, answers its pings if
// that is wanted, and returns for how long that was and the server's settings.
func (c *rawConnection) lasts(t *testing.T, answer bool) (time.Duration, map[http2.SettingID]uint32) {
	t.Helper()
	settings := map[http2.SettingID]uint32{}
	for {
		frame, err := c.ReadFrame()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF) {
			return time.Since(c.began), settings
		}
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			_ = f.ForeachSetting(func(s http2.Setting) error { settings[s.ID] = s.Val; return nil }) // no error is made
		case *http2.PingFrame:
			if answer && !f.IsAck() {
				_ = c.WritePing(true, f.Data) // the server may be gone: the next read says so
			}
		}
	}
}

func TestAConnectionIsToldItsBoundsAndEndsWhenNobodyUsesIt(t *testing.T) {
	for name, row := range map[string]struct {
		answers     bool
		least, most time.Duration
	}{
		"a client that answers and asks for nothing": {true, idleTimeout, idleTimeout + 2*time.Minute},
		"a client that is gone":                      {false, aliveAfter, 2*aliveAfter + aliveTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lasted, settings := newRig(t).rawConnection(t).lasts(t, row.answers)
				if lasted < row.least || lasted > row.most {
					t.Errorf("the connection lasted %v, want %v to %v", lasted, row.least, row.most)
				}
				for id, want := range map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: maxStreams, http2.SettingMaxHeaderListSize: maxHeaders} {
					if settings[id] != want {
						t.Errorf("%v is %d, want %d", id, settings[id], want)
					}
				}
			})
		})
	}
}
