package config

import (
	"regexp"
	"strings"
)

// notShown stands in a message for a text of the file that may be a secret. The
// file names files that hold secrets, but people do paste the secret itself, and
// messages of a start end in logs that many read.
const notShown = "[not shown: it looks like a secret; the configuration names the file that holds one]"

const (
	// secretBytes is how long a text must be at least to be taken for a secret.
	secretBytes = 20
	// partBytes is how long a part of one must be to be worth hiding.
	partBytes = 8
)

var (
	// betweenWords is what stands around the values of a YAML file.
	betweenWords = regexp.MustCompile("[\\s\"'\\[\\]{},]+")
	userInURL    = regexp.MustCompile(`^[a-z+]+://(.+)@`)
	tokenLike    = regexp.MustCompile(`^[A-Za-z0-9+/=_.~-]+$`)
	hexLike      = regexp.MustCompile(`^[0-9a-fA-F]{32,}$`)
	lower        = regexp.MustCompile(`[a-z]`)
	upper        = regexp.MustCompile(`[A-Z]`)
	digit        = regexp.MustCompile(`[0-9]`)
)

// misplaced finds what in a configuration looks like a secret: it judges the bare
// text, so that it also finds what stands under unknown keys or in a file that is
// not YAML. Taking too much for a secret costs little: messages name the line.
func misplaced(text []byte) (found []string) {
	for _, word := range betweenWords.Split(string(text), -1) {
		if user := userInURL.FindStringSubmatch(word); user != nil {
			word = user[1]
		} else if !looksSecret(word) {
			continue
		}
		found = append(found, word)
		// What a path or a URL in a message may have made something else of.
		for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return r == '/' || r == ':' }) {
			if part != word && len(part) >= partBytes {
				found = append(found, part)
			}
		}
	}
	return found
}

// looksSecret: random text of base64 has lower case, upper case and digits in each
// part that is long enough; paths and names do not.
func looksSecret(word string) bool {
	if hexLike.MatchString(word) {
		return true
	}
	if len(word) < secretBytes || !tokenLike.MatchString(word) || strings.HasPrefix(word, "/") || strings.HasPrefix(word, ".") {
		return false
	}
	for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return r == '/' || r == '.' || r == '-' || r == '_' }) {
		if len(part) >= partBytes && lower.MatchString(part) && upper.MatchString(part) && digit.MatchString(part) {
			return true
		}
	}
	return len(word) >= 2*secretBytes && lower.MatchString(word) && upper.MatchString(word) && digit.MatchString(word) ||
		!lower.MatchString(word) && upper.MatchString(word) && digit.MatchString(word) // base32
}

// hide takes what may be a secret out of the problems.
func (ps Problems) hide(texts []string) {
	for i := range ps {
		for _, s := range texts {
			ps[i].Path = strings.ReplaceAll(ps[i].Path, s, "...")
			ps[i].Message = strings.ReplaceAll(ps[i].Message, s, notShown)
		}
	}
}
