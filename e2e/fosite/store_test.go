package fosite

import (
	"context"
	"sync"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/storage"
)

// leeway is how long the store forgives the reuse of a spent refresh token. A
// test can outlast it.
const leeway = 14 * time.Second

// store is fosite's own, but that a spent refresh token stays good for the
// leeway and yields a sibling of its successor. After that its reuse ends the family.
type store struct {
	*storage.MemoryStore

	mu sync.Mutex // guards what follows
	// spent is when a refresh token was rotated first, by signature.
	spent map[string]time.Time
	// ended are the families that were revoked, by the id of their consent's request.
	ended map[string]bool
}

func newStore() *store {
	return &store{MemoryStore: storage.NewMemoryStore(), spent: map[string]time.Time{}, ended: map[string]bool{}}
}

// RotateRefreshToken spends the token; fosite's own revokes it, and its access token, at once.
func (s *store) RotateRefreshToken(_ context.Context, _ string, signature string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spent[signature].IsZero() { // the leeway counts from the first time
		s.spent[signature] = time.Now()
	}
	return nil
}

// GetRefreshTokenSession answers fosite.ErrInactiveToken for a reuse, which then
// revokes the family.
func (s *store) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	req, err := s.MemoryStore.GetRefreshTokenSession(ctx, signature, session)
	if err != nil {
		return req, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.spent[signature]; s.ended[req.GetID()] || !at.IsZero() && time.Since(at) >= leeway {
		return req, fosite.ErrInactiveToken
	}
	return req, nil
}

// GetAccessTokenSession knows no token of a family that has ended.
func (s *store) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	req, err := s.MemoryStore.GetAccessTokenSession(ctx, signature, session)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.ended[req.GetID()] {
		return nil, fosite.ErrNotFound
	}
	return req, err
}

// RevokeRefreshToken ends the family, siblings included.
func (s *store) RevokeRefreshToken(_ context.Context, request string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended[request] = true
	return nil
}

// RevokeAccessToken has nothing left to do after that.
func (s *store) RevokeAccessToken(context.Context, string) error { return nil }

func (s *store) endedFamilies() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ended)
}
