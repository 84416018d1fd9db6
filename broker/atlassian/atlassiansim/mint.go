package atlassiansim

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Bounds of a token's length. The lower one leaves room for the visible parts
// and more than 64 random characters.
const (
	minTokenBytes = 256
	maxTokenBytes = 64 << 10
)

// label is the payload of a token: the ledger's ids, so that a person can tell
// tokens apart, and the simulator one that it has forgotten.
type label struct {
	ID     string `json:"jti"`
	Use    string `json:"use"` // "refresh", "access" or "code"
	Family string `json:"fam,omitempty"`
}

const markBytes = 43 // of an encoded SHA-256 sum

// mint makes a token of exactly n bytes that looks like a JWT. What makes it
// unguessable is the random part of its "signature", which ends in a mark.
func (s *state) mint(l label, n int) string {
	payload := enc(fmt.Appendf(nil, `{"jti":%q,"use":%q,"fam":%q}`, l.ID, l.Use, l.Family))
	head := enc([]byte(`{"alg":"RS256","kid":"simulator"}`)) + "." + payload + "."
	return head + randomText(n-len(head)-markBytes) + s.mark(payload)
}

// mark tells that a payload was made here.
func (s *state) mark(payload string) string {
	m := hmac.New(sha256.New, s.Key)
	m.Write([]byte(payload))
	return enc(m.Sum(nil))
}

// recognize reads the label of a token that was made here. It is only asked
// about tokens that are not remembered, so nothing that it says may make one valid.
func (s *state) recognize(token string) (l label, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(parts[2]) < markBytes {
		return l, false
	}
	mark := parts[2][len(parts[2])-markBytes:]
	if !hmac.Equal([]byte(mark), []byte(s.mark(parts[1]))) {
		return l, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	return l, err == nil && json.Unmarshal(raw, &l) == nil
}

// randomText returns n random characters of the base64url alphabet.
func randomText(n int) string {
	raw := make([]byte, n*3/4+3)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return enc(raw)[:n]
}

func enc(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// hash is under what a token is remembered: neither memory dumps of the state
// nor the state file hold tokens.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
