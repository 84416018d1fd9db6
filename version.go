// Package holdfast holds what the whole repository has in common: the one version
// that the server and every SDK are released under. It imports nothing and is
// imported by the command alone; clients in Go import clients/go.
package holdfast

import (
	_ "embed"
	"strings"
)

//go:embed VERSION
var version string

// Version is the version of the server and of all SDKs, e.g. "0.1.0". A release is
// the commit that the tag "v" + Version names; between releases it is the version of the
// next one.
func Version() string { return strings.TrimSpace(version) }
