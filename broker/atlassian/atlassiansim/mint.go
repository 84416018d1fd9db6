package atlassiansim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// Bounds of a token's length. The lower one leaves room for the visible parts
// and more than 64 random characters.
const (
	minTokenBytes = 256
	maxTokenBytes = 64 << 10
)

// mint makes a token of exactly n bytes that looks like a JWT. Its payload
// carries the ledger's id, so that a person can tell tokens apart; what makes it
// unguessable is the "signature", which is nothing but random.
func mint(id, use string, n int) string {
	head := enc([]byte(`{"alg":"RS256","kid":"simulator"}`)) + "." +
		enc(fmt.Appendf(nil, `{"jti":%q,"use":%q}`, id, use)) + "."
	return head + randomText(n-len(head))
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
