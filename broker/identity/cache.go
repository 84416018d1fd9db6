package identity

import (
	"crypto/sha256"
	"sync"
)

const (
	// cacheShards keep callers from waiting for one lock.
	cacheShards = 16
	// cacheHalf is how many tokens one generation of a shard holds: 8,192 are
	// kept at least, and 16,384 at most, in all.
	cacheHalf = 512
)

// tokenKey names a token without holding it.
func tokenKey(raw string) [sha256.Size]byte { return sha256.Sum256([]byte(raw)) }

// cache remembers the identities of verified tokens by their hashes. What was
// not asked for during a whole generation is forgotten.
type cache struct{ shards [cacheShards]shard }

type shard struct {
	mu         sync.Mutex // guards both
	young, old map[[sha256.Size]byte]remembered
}

type remembered struct {
	epoch uint64
	id    *Identity
}

// get returns nil if the token is unknown or was verified in another epoch.
func (c *cache) get(key [sha256.Size]byte, epoch uint64) *Identity {
	s := &c.shards[key[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.young[key]
	if !ok {
		if r, ok = s.old[key]; !ok {
			return nil
		}
		s.add(key, r)
	}
	if r.epoch != epoch {
		return nil
	}
	return r.id
}

func (c *cache) put(key [sha256.Size]byte, epoch uint64, id *Identity) {
	s := &c.shards[key[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(key, remembered{epoch, id})
}

// add puts into the young generation. The caller holds mu.
func (s *shard) add(key [sha256.Size]byte, r remembered) {
	if s.young == nil || len(s.young) >= cacheHalf {
		s.old, s.young = s.young, make(map[[sha256.Size]byte]remembered, cacheHalf)
	}
	s.young[key] = r
}
