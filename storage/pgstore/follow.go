package pgstore

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/storage"
)

// channel of the notifications.
const channel = "holdfast_changed"

const (
	// mostNotified is the size of a notification, in bytes; the server takes 8000.
	mostNotified = 7000
	// hintTimeout bounds a notification; one that is not sent is missed.
	hintTimeout = 2 * time.Second
	// reconnectPause of a follower, and how long it listens before it looks
	// whether the server is still there.
	reconnectPause = 500 * time.Millisecond
	listenFor      = 15 * time.Second
)

// newID tells apart who sent a notification. It protects nothing.
func newID() string { return strconv.FormatUint(rand.Uint64(), 36) } //nolint:gosec // see above

// hinted is a notification: who changed what. Ids only.
type hinted struct {
	By   string        `json:"by"`
	Keys []storage.Key `json:"keys"`
}

// hint has others told of what was swapped. It never blocks: what does not fit
// into the queue is missed.
func (s *Store) hint(live []*member) {
	var keys []storage.Key
	for _, m := range live {
		for _, c := range m.changes {
			if !c.Check {
				keys = append(keys, c.Item.Key)
			}
		}
	}
	select {
	case s.hints <- keys:
	default:
	}
}

// hintLoop sends what gathers. A NOTIFY within the swap would make all commits
// of the cluster wait for one another, since PostgreSQL orders them.
func (s *Store) hintLoop() {
	defer s.running.Done()
	for {
		select {
		case keys := <-s.hints:
			for more := true; more && len(keys) < groupLimit; {
				select {
				case k := <-s.hints:
					keys = append(keys, k...)
				default:
					more = false
				}
			}
			s.notify(keys)
		case <-s.stop:
			return
		}
	}
}

func (s *Store) notify(keys []storage.Key) {
	ctx, cancel := context.WithTimeout(s.life, hintTimeout)
	defer cancel()
	var b pgx.Batch
	b.Queue("BEGIN")
	b.Queue("SET LOCAL synchronous_commit = off")
	for _, text := range s.notifications(keys) {
		b.Queue("SELECT pg_notify($1, $2)", channel, text)
	}
	b.Queue("COMMIT")
	conn, err := s.write.Acquire(ctx)
	if err == nil {
		defer conn.Release()
		if err = conn.SendBatch(ctx, &b).Close(); err != nil {
			rollback(conn)
		}
	}
	if err != nil {
		s.opts.Log.Debug("other replicas were not told of a change, and will find it", "error", plain(err))
	}
}

// notifications splits keys into texts that the server takes.
func (s *Store) notifications(keys []storage.Key) (texts []string) {
	for len(keys) > 0 {
		n := len(keys)
		b, err := json.Marshal(hinted{s.id, keys[:n]})
		for err == nil && len(b) > mostNotified && n > 1 {
			n = (n + 1) / 2
			b, err = json.Marshal(hinted{s.id, keys[:n]})
		}
		if err == nil && len(b) <= mostNotified {
			texts = append(texts, string(b))
		}
		keys = keys[n:]
	}
	return texts
}

// Follow implements storage.Shared by LISTEN on a connection of its own.
func (s *Store) Follow(ctx context.Context, changed func(storage.Key)) error {
	for ctx.Err() == nil {
		err := s.listen(ctx, changed)
		if ctx.Err() != nil {
			break
		}
		s.opts.Log.Debug("changes of other replicas are not heard of for a moment", "error", plain(err))
		t := time.NewTimer(reconnectPause)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
	return ctx.Err()
}

// listen listens until the connection ends.
func (s *Store) listen(ctx context.Context, changed func(storage.Key)) error {
	if err := s.enter(); err != nil {
		return err
	}
	c, err := s.poolConfig(1)
	s.leave()
	if err != nil {
		return err
	}
	cc := c.ConnConfig
	dialOnly(cc)
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return err
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
		defer cancel()
		_ = conn.Close(bye)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		if err := s.hear(ctx, conn, changed); err != nil {
			return err
		}
	}
}

// hear waits for one notification, or looks after a while whether the server is there.
func (s *Store) hear(ctx context.Context, conn *pgx.Conn, changed func(storage.Key)) error {
	wait, cancel := context.WithTimeout(ctx, listenFor)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	if err != nil {
		if wait.Err() == nil || ctx.Err() != nil || conn.IsClosed() {
			return err
		}
		ping, cancel := context.WithTimeout(ctx, pingTimeout)
		defer cancel()
		return conn.Ping(ping)
	}
	var h hinted
	if json.Unmarshal([]byte(n.Payload), &h) != nil || h.By == s.id {
		return nil
	}
	for _, k := range h.Keys {
		changed(k)
	}
	return nil
}

var (
	_ storage.Backend     = (*Store)(nil)
	_ storage.Loader      = (*Store)(nil)
	_ storage.Shared      = (*Store)(nil)
	_ storage.Sequencer   = (*Store)(nil)
	_ storage.Snapshotter = (*Store)(nil)
)
