package crash

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// grant is one grant under load, with what was handed out of it.
type grant struct {
	address *holdfastv1.GrantAddress
	account string

	mu sync.Mutex // guards all below
	// newest generation that was handed out.
	newest uint64
	// handed is the hash of the token that came with each generation.
	handed map[uint64][sha256.Size]byte
}

func (g *grant) String() string {
	return g.address.GetTenant() + "/" + g.address.GetSubject() + "/" + g.address.GetProduct()
}

func (g *grant) selector() *holdfastv1.GrantSelector {
	return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: g.address}}
}

// floor is the generation that no call that begins now may fall below.
func (g *grant) floor() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.newest
}

// note records an answer to a call that began at the floor. An error says that
// a token had been handed out that was not durable.
func (g *grant) note(floor uint64, answer *holdfastv1.GetAccessTokenResponse) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	generation := answer.GetGeneration()
	if generation < floor {
		return fmt.Errorf("%s: generation %d was handed out after generation %d", g, generation, floor)
	}
	g.newest = max(g.newest, generation)
	sum := sha256.Sum256([]byte(answer.GetAccessToken()))
	if before, known := g.handed[generation]; known && before != sum {
		return fmt.Errorf("%s: two different tokens were handed out as generation %d", g, generation)
	}
	if g.handed == nil {
		g.handed = map[uint64][sha256.Size]byte{}
	}
	g.handed[generation] = sum
	return nil
}

// names are the ids in the simulator's ledger of an access token and its family.
type names struct {
	Token  string `json:"jti"`
	Family string `json:"fam"`
}

// read returns what stands in a token of the simulator.
func read(token string) (n names, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return n, fmt.Errorf("a token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return n, fmt.Errorf("decoding a token: %w", err)
	}
	return n, json.Unmarshal(payload, &n)
}
