package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "canary-7f3a"

type holder struct {
	Public String
	hidden String
	inner  struct{ deep []String }
}

func TestEveryFormatterRedacts(t *testing.T) {
	h := holder{Public: New(canary), hidden: New(canary)}
	h.inner.deep = []String{New(canary)}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb, h)
		fmt.Fprintf(&out, verb, &h)
		fmt.Fprintf(&out, verb, h.Public)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", h.Public, "holder", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", h.Public, "holder", h)
	if err := json.NewEncoder(&out).Encode(map[string]any{"k": h, "p": &h}); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) {
		t.Fatalf("the secret leaked: %s", s)
	}
}

func TestRevealAndEqual(t *testing.T) {
	if New(canary).Reveal() != canary || !New(canary).Equal(New(canary)) || New(canary).Equal(New("other")) {
		t.Fatal("Reveal or Equal does not give back the text")
	}
	if !New("").Empty() || New("").Reveal() != "" || New(canary).Len() != len(canary) {
		t.Fatal("the empty secret is not empty")
	}
}
