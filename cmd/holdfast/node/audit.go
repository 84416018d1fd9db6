package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/storage"
)

// auditGrace bounds the end of the audit log: its copies may wait for a collector.
const auditGrace = 15 * time.Second

// openAudit opens the record. Its checkpoints are signed by a key of the store's.
func (n *Node) openAudit(store *storage.Store) (*audit.Log, error) {
	a := &n.o.Config.Audit
	c := audit.Config{
		File: a.File, RotateSize: a.RotateBytes, Keep: a.Keep, KeepFor: a.KeepFor, Level: audit.Level(a.Level),
		Origin: audit.Origin(store.StoreID()), Key: ed25519.NewKeyFromSeed(store.AuditSeed()),
		CheckpointFile: a.CheckpointFile, CheckpointEvery: a.CheckpointEvery, Log: n.log,
	}
	if a.Stdout {
		c.Stdout = os.Stdout
	}
	if a.OTLP.Endpoint != "" {
		e, err := newOTLP(a.OTLP.Endpoint, a.OTLP.CAFile)
		if err != nil {
			return nil, fmt.Errorf("audit.otlp: %w", err)
		}
		c.Exporter = e
	}
	log, err := audit.Open(c)
	if err != nil {
		return nil, err
	}
	newAuditMetrics(n.metrics, log.Stats)
	n.stack.Push("audit log", auditGrace, func(context.Context) error { return log.Close() })
	return log, nil
}
