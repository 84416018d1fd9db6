package badgerstore

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// logger hands Badger's log to slog. Badger reports a failed sync of the value
// log to nobody but its log, so this is also where a commit learns of it.
type logger struct {
	log *slog.Logger
	// syncFailed stays set: a later sync that succeeds proves nothing about
	// pages whose write failed before.
	syncFailed atomic.Bool
}

// syncFailure is in the text of every failed sync that Badger 4.9.6 logs:
// "Error while curlf sync: ..." in value.go.
const syncFailure = "sync"

func (l *logger) Errorf(format string, args ...any) {
	if strings.Contains(format, syncFailure) {
		l.syncFailed.Store(true)
	}
	l.log.Error("badger: " + text(format, args))
}

func (l *logger) Warningf(format string, args ...any) { l.log.Warn("badger: " + text(format, args)) }

// What Badger calls information is of use only to who debugs Badger.

func (l *logger) Infof(format string, args ...any)  { l.log.Debug("badger: " + text(format, args)) }
func (l *logger) Debugf(format string, args ...any) { l.log.Debug("badger: " + text(format, args)) }

func text(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}
