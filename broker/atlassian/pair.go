package atlassian

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
)

const (
	// maxLife bounds what expires_in is believed: a life in milliseconds, or
	// beyond what a Duration holds, must not make a dead token look alive.
	maxLife = 24 * time.Hour
	// maxRetryAfter bounds what Retry-After is believed: an access token's
	// usual life. Asking once an hour harms nobody; never asking loses families.
	maxRetryAfter = time.Hour
)

// parsePair parses the body of a successful answer. The pair has an access
// token if and only if the body holds a usable one; word then is empty or
// "expires_in_assumed", otherwise it says what is wrong.
//
// A missing or unusable expires_in never costs the pair: its refresh token may
// be the only live one there is. The access token is then taken to live for
// assumed, which the profile keeps short.
func parsePair(body []byte, assumed time.Duration) (pair family.Pair, word string) {
	fields, ok := parseObject(body)
	if !ok {
		return family.Pair{}, notJSON(body)
	}
	access, okAccess := text(fields["access_token"])
	refresh, okRefresh := text(fields["refresh_token"])
	switch {
	case !okAccess || !okRefresh || !isToken(access) || !isToken(refresh):
		return family.Pair{}, "malformed_pair"
	case access == "":
		return family.Pair{}, "no_access_token"
	}
	life, ok := parseLife(fields["expires_in"])
	if !ok {
		life, word = assumed, "expires_in_assumed"
	}
	pair = family.Pair{Access: secret.New(access), Refresh: secret.New(refresh), ExpiresIn: life}
	if scope, _ := text(fields["scope"]); scope != "" {
		pair.Scopes = strings.Fields(scope) // otherwise nil: the provider did not say
	}
	return pair, word
}

// notJSON tells a cut-off object from something else altogether.
func notJSON(body []byte) string {
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return "truncated"
	}
	return "not_json"
}

// isToken reports whether s has only the characters of RFC 6749 appendix A.12.
// Others would mean that the body was mangled on the way, and a line break in
// a token would let the provider write into its users' HTTP headers.
func isToken[T string | json.RawMessage](s T) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// parseLife accepts a positive number of seconds, as a number or as a string
// (some servers quote it), rounded down and bounded by maxLife.
func parseLife(raw json.RawMessage) (time.Duration, bool) {
	number := string(raw)
	if s, ok := text(raw); ok {
		number = strings.TrimSpace(s)
	}
	seconds, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsInf(seconds, 0) || !(seconds >= 1) { // the negation catches NaN
		return 0, false
	}
	if seconds >= maxLife.Seconds() {
		return maxLife, true
	}
	return time.Duration(math.Floor(seconds)) * time.Second, true
}

// parseRetryAfter accepts both forms of RFC 9110 section 10.2.3, seconds and a
// date; anything else, and a date in the past, is 0.
func parseRetryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseInt(header, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter.Seconds()) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
