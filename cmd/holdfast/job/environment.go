package job

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Names of the variables, behind the prefix and an underscore.
const (
	nameToken     = "ACCESS_TOKEN"
	nameTokenFile = "ACCESS_TOKEN_FILE"
	nameExpires   = "EXPIRES_AT"
	nameGen       = "GENERATION"
	nameBase      = "API_BASE_URL"
	nameCloudID   = "CLOUD_ID"
	nameGrantID   = "GRANT_ID"
)

// DefaultPrefix of the variables.
const DefaultPrefix = "HOLDFAST"

var prefixRule = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,63}$`)

// CheckPrefix reports whether variables can have that prefix.
func CheckPrefix(prefix string) error {
	if !prefixRule.MatchString(prefix) {
		return fmt.Errorf("prefix %q: want 1 to 64 of A-Z 0-9 _, and no digit in front", prefix)
	}
	return nil
}

// Variable of an environment.
type Variable struct{ Name, Value string }

// Variables are what a token becomes in an environment; those without a value are left
// out. With a file, the token itself, its end and its generation are in none, since
// the file's content changes.
func Variables(prefix string, t *holdfastv1.GetAccessTokenResponse, file string) []Variable {
	all := []Variable{
		{nameToken, t.GetAccessToken()},
		{nameExpires, t.GetExpiresAt().AsTime().UTC().Format(time.RFC3339)},
		{nameGen, strconv.FormatUint(t.GetGeneration(), 10)},
	}
	if file != "" {
		all = []Variable{{nameTokenFile, file}}
	}
	all = append(all, Variable{nameBase, t.GetApiBaseUrl()}, Variable{nameCloudID, t.GetSite().GetCloudId()}, Variable{nameGrantID, t.GetGrantId()})
	var out []Variable
	for _, v := range all {
		if v.Value != "" {
			out = append(out, Variable{prefix + "_" + v.Name, v.Value})
		}
	}
	return out
}

// Environment is base, of the form of os.Environ, with the variables in place of all
// that base has under the names that a token can have: an older token must not be
// taken for this one.
func Environment(base []string, prefix string, vars []Variable) []string {
	ours := map[string]bool{}
	for _, name := range []string{nameToken, nameTokenFile, nameExpires, nameGen, nameBase, nameCloudID, nameGrantID} {
		ours[prefix+"_"+name] = true
	}
	var out []string
	for _, v := range base {
		if name, _, _ := strings.Cut(v, "="); !ours[name] {
			out = append(out, v)
		}
	}
	for _, v := range vars {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}

// Exports is a text for a POSIX shell's eval that sets the variables and does nothing
// else, whatever is in their values.
func Exports(vars []Variable) string {
	var b strings.Builder
	for _, v := range vars {
		b.WriteString("export " + v.Name + "=" + Quote(v.Value) + "\n")
	}
	return b.String()
}

// Quote makes one word of a POSIX shell of text, in which nothing has a meaning. A NUL,
// which no word can hold, is left out.
func Quote(text string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "\x00", "").Replace(text) + "'"
}
