package node

import (
	"errors"
	"log/slog"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/lifecycle"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// Check reads what c names (certificates, keys, secrets) without opening the
// store or listening, and reports everything that Start would fail with.
func Check(c *config.Config) error {
	quiet := slog.New(slog.DiscardHandler)
	n := &Node{o: Options{Config: c, Log: quiet}, log: quiet, stack: lifecycle.New(quiet)}
	_, kek := seal.ReadFile(c.Keys.KEKFile)
	_, provider := NewProvider(&c.Provider)
	_, apps := n.apps()
	_, server := n.rpcTLS()
	var pages error
	if !c.HTTP.BehindProxy {
		_, pages = n.webTLS()
	}
	if pages != nil && server != nil && pages.Error() == server.Error() {
		pages = nil // the same files
	}
	return errors.Join(kek, provider, apps, server, pages)
}
