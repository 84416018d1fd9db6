package broker

import (
	"strings"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// mostGroupsNamed bounds the command: identities of other domains may have hundreds.
const mostGroupsNamed = 10

// explainCommand is what an operator runs to see why r was decided as it was: with
// all that the caller is known by, or rules about kinds and groups would be asked
// about somebody else. It is pasted into a shell, and a token's claims may be
// anybody's words: each is quoted.
func explainCommand(r *policy.Request) string {
	words := []string{"holdfast policy explain --caller", shellWord(r.Caller)}
	if r.Kind != "" && r.Kind != string(CallerX509) { // the verb's default
		words = append(words, "--kind", shellWord(r.Kind))
	}
	for i, g := range r.Groups {
		if i == mostGroupsNamed {
			break
		}
		words = append(words, "--group", shellWord(g))
	}
	words = append(words, "--action", string(r.Action))
	if r.Address != (storage.Address{}) {
		words = append(words, "--grant", shellWord(r.Address.String()))
	}
	return strings.Join(words, " ")
}

// plainWord has the characters that no shell gives a meaning to.
const plainWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_+:,./-"

// shellWord quotes text for a POSIX shell, unless it is plain.
func shellWord(text string) string {
	if text != "" && strings.Trim(text, plainWord) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
