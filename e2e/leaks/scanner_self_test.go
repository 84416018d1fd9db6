package leaks

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// hostile has what every escape changes, far enough apart that each piece is random.
func hostile() string {
	return rand.Text()[:9] + `"` + rand.Text()[:9] + "&" + rand.Text()[:9] + "<" + rand.Text()[:9] + "+" + rand.Text()[:9] + "\\" + rand.Text()[:9] + "é"
}

func TestTheScannerFindsASecretInEveryEncoding(t *testing.T) {
	for _, secret := range []string{hostile(), rand.Text()[:piece+3]} {
		var s scanner
		s.plant("canary", secret)
		forms := map[string]string{
			"as it is": secret, "a piece": secret[2 : 2+piece],
			"hex": fmt.Sprintf("%x", secret), "upper hex": fmt.Sprintf("%X", secret), "hex inside of hex": hex.EncodeToString([]byte("x" + secret + "y")),
			"query": url.QueryEscape(secret), "path": url.PathEscape(secret), "page": html.EscapeString(secret),
			"quoted": fmt.Sprintf("%q", secret), "ascii": fmt.Sprintf("%+q", secret),
			"numbers": fmt.Sprint([]byte(secret)), "go syntax": fmt.Sprintf("%#v", []byte(secret)),
		}
		for _, shift := range []string{"", "x", "xy"} {
			for _, code := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
				// "???" and "~~~" are where the two alphabets differ.
				forms["base64 "+shift+code.EncodeToString([]byte("???"))] = code.EncodeToString([]byte(shift + secret + "~~~"))
				forms["a piece in base64 "+shift+code.EncodeToString([]byte("???"))] = code.EncodeToString([]byte(shift + secret[:piece+2]))
			}
		}
		quoted, err := json.Marshal(map[string]string{"k": secret})
		if err != nil {
			t.Fatal(err)
		}
		forms["json"] = string(quoted)
		var log, zip bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "k", secret)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "k", secret)
		forms["log"] = log.String()
		w := gzip.NewWriter(&zip)
		_, _ = w.Write([]byte("profile " + secret))
		_ = w.Close()
		forms["gzip"] = zip.String()
		for name, zeros := range map[string]int{"a page": 4096, "two pages": 8192, "nearly a page": 4095 - piece} {
			forms["after "+name+" of nothing"] = strings.Repeat("\x00", zeros) + secret
		}
		for name, form := range forms {
			prefix := "some text before "
			if name == "gzip" || strings.HasSuffix(name, "nothing") {
				prefix = ""
			}
			if len(s.find([]byte(prefix+form))) == 0 {
				t.Errorf("%s: the scanner does not find %q in %q", name, secret, form)
			}
		}
	}
}

func TestTheScannerFindsNothingElse(t *testing.T) {
	var s scanner
	secret := hostile()
	s.plant("canary", secret)
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	for _, text := range []string{
		"", "short", secret[:piece-1], "x" + secret[3:3+piece-1] + "x", string(noise), base64.StdEncoding.EncodeToString(noise), hex.EncodeToString(noise),
		"[redacted]", strings.Repeat("\x00", 1000),
	} {
		if found := s.find([]byte(text)); len(found) > 0 {
			t.Errorf("found %v in %.40q", found, text)
		}
	}
}

func TestAKindThatIsAllowedIsAllowedAsItIsAlone(t *testing.T) {
	var s scanner
	token, other := rand.Text(), rand.Text()
	s.plant("access token", token)
	s.plant("refresh token", other)
	kinds := func(text string) (kinds []string) {
		for _, f := range s.find([]byte(text), "access token") {
			kinds = append(kinds, f.kind+", "+f.encoding)
		}
		return kinds
	}
	for text, want := range map[string][]string{
		token: nil, other: {"refresh token, as it is"}, token + other: {"refresh token, as it is"},
		fmt.Sprint([]byte(token)): {"access token, as numbers"},
	} {
		if got := kinds(text); !slices.Equal(got, want) {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}
