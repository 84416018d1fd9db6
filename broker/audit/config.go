package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Level says what a record has survived when Write returns.
type Level string

// The levels.
const (
	// Written records survive a crash of the process, not a power cut: write(2) returned.
	Written Level = "written"
	// Durable records survive a power cut: fsync(2) returned. It needs a file.
	Durable Level = "durable"
)

// Defaults of a Config.
const (
	DefaultPatience          = 2 * time.Second
	DefaultCheckpointEvery   = time.Minute
	DefaultCheckpointRecords = 10_000
	DefaultFloodWindow       = 10 * time.Second
	DefaultMostQueued        = 8 << 20
)

// Config of a Log. The zero value of a field means what its comment says.
//
// The first of File, Stdout and Exporter that is set is the primary sink: it fails
// closed, since Write returns only when it has the record. The others are
// copies: what they can not take in time is dropped, counted and warned of.
type Config struct {
	// File that lines are appended to, readable by its owner only; empty: none.
	File string
	// RotateSize in bytes: a file that has reached it is renamed to File + "." +
	// its last line's number, and a new one begun. 0: never.
	RotateSize int64
	// Keep is how many renamed files are kept, KeepFor how long after their last
	// line; 0: all of them, for ever.
	Keep    int
	KeepFor time.Duration
	// Level; empty: Written.
	Level Level
	// Stdout gets the same lines; nil: nothing does.
	Stdout io.Writer
	// Exporter gets the same lines, e.g. NewOTLP's; nil: nothing does. The Log closes it.
	Exporter Exporter

	// Origin names the chain in checkpoints, and Key signs them; empty: there are none.
	Origin string
	Key    ed25519.PrivateKey
	// CheckpointFile gets the newest checkpoint; empty: none does.
	CheckpointFile string
	// CheckpointEvery and CheckpointRecords are after how much time and how many
	// records a checkpoint is written; 0: the defaults, a minute and 10,000.
	CheckpointEvery   time.Duration
	CheckpointRecords uint64

	// Patience is how long a record may take to be written before its call, and
	// all others until it is written, are refused; 0: 2 s.
	Patience time.Duration
	// FloodWindow is how long further refusals of one caller are counted before
	// they are recorded as one; 0: 10 s.
	FloodWindow time.Duration
	// MostQueued bytes of records wait for the writer; 0: 8 MiB.
	MostQueued int
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
	// Log; nil: slog.Default().
	Log *slog.Logger

	// faults, if set, stands before the primary sink in tests.
	faults func(sink) sink
	// rotating, if set, is called at the beginning of each rotation in tests.
	rotating func()
}

func (c *Config) complete() error {
	if c.File == "" && c.Stdout == nil && c.Exporter == nil {
		return errors.New("audit: a file, standard output or an exporter must take the records")
	}
	switch c.Level {
	case "":
		c.Level = Written
	case Written:
	case Durable:
		if c.File == "" {
			return errors.New("audit: level durable needs a file: nothing else can be synced")
		}
	default:
		return fmt.Errorf("audit: level %q: want written or durable", c.Level)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Patience, DefaultPatience},
		{&c.CheckpointEvery, DefaultCheckpointEvery},
		{&c.FloodWindow, DefaultFloodWindow},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.CheckpointRecords == 0 {
		c.CheckpointRecords = DefaultCheckpointRecords
	}
	if c.MostQueued == 0 {
		c.MostQueued = DefaultMostQueued
	}
	return nil
}
