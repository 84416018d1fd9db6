package chaos

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Verb is what a call asked for.
type Verb string

// The verbs.
const (
	// Draw asks for an access token.
	Draw Verb = "draw"
	// Force asks for a rotation.
	Force Verb = "force"
	// Revoke ends a grant, Consent gives it a new family.
	Revoke  Verb = "revoke"
	Consent Verb = "consent"
)

// Op is one call and its answer.
type Op struct {
	Verb    Verb
	Grant   int
	Replica int
	// Call and Return by the cluster's time; Return is forever if nobody knows
	// whether it was done.
	Call, Return time.Duration
	// Round counts the revocations of the grant, each with the consent after it; what
	// is tried again is of the same one.
	Round int
	// Generation handed out, and what the token says of itself; 0 and empty if none was.
	Generation uint64
	Token      Token
	// Code and Reason of the error; empty: there was none. Retry: it says when to retry.
	Code, Reason string
	Retry        bool
	// Message of the error, for people.
	Message string
}

// Served says that a token was handed out.
func (o *Op) Served() bool { return o.Verb == Draw && o.Generation > 0 }

// Token is what the simulator's ledger knows of an access token: names, and no secret.
type Token struct {
	ID     string `json:"jti"`
	Family string `json:"fam"`
	// Sum tells tokens apart.
	Sum [sha256.Size]byte `json:"-"`
}

// readToken returns what stands in a token of the simulator.
func readToken(token string) (n Token, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return n, fmt.Errorf("a token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return n, fmt.Errorf("decoding a token: %w", err)
	}
	n.Sum = sha256.Sum256([]byte(token))
	return n, json.Unmarshal(payload, &n)
}

// History is all calls of a run. It is safe for concurrent use.
type History struct {
	mu  sync.Mutex // guards what follows
	ops []Op
	// announced are the attempts in the journals, by grant and attempt.
	announced map[int]map[string]Announced
}

// Announced is an attempt that a journal tells of.
type Announced struct {
	// At is when it was announced, by the broker's clock.
	At         time.Time
	Generation uint64
	Fence      uint64
	LastTry    bool
}

func (h *History) add(o Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

func (h *History) announce(grant int, id string, a Announced) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.announced == nil {
		h.announced = map[int]map[string]Announced{}
	}
	if h.announced[grant] == nil {
		h.announced[grant] = map[string]Announced{}
	}
	h.announced[grant][id] = a
}

// Ops returns all calls, by the time of the call.
func (h *History) Ops() []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	ops := slices.Clone(h.ops)
	slices.SortStableFunc(ops, func(a, b Op) int { return int(a.Call - b.Call) })
	return ops
}

// Announced returns the attempts of a grant, in order of their fences.
func (h *History) Announced(grant int) []Announced {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Announced
	for _, a := range h.announced[grant] {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b Announced) int { return int(int64(a.Fence) - int64(b.Fence)) })
	return list
}
