package broker

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestASetbackIsToldAtItsBeginningNowAndThenAndAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		to := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		doing := setback{what: "doing it"}
		tries := func(n int, err error) {
			for range n {
				doing.note(to, err)
				<-time.After(10 * time.Second)
			}
		}
		away := errors.New("away")
		tries(3, nil)
		tries(150, away) // 25 minutes
		tries(3, nil)
		tries(1, away) // another one begins anew
		tries(1, nil)
		want := []string{
			`level=WARN msg="doing it failed; it is tried again" error=away`,
			`level=WARN msg="doing it still fails; it is tried again" for=10m0s failures=61 error=away`,
			`level=WARN msg="doing it still fails; it is tried again" for=20m0s failures=121 error=away`,
			`level=INFO msg="doing it works again" after=25m0s failures=150`,
			`level=WARN msg="doing it failed; it is tried again" error=away`,
			`level=INFO msg="doing it works again" after=10s failures=1`,
		}
		if got := strings.TrimSpace(log.String()); got != strings.Join(want, "\n") {
			t.Errorf("logged\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}
