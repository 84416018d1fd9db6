package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"expvar"
	"fmt"
	"html/template"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const canary = "canary-7f3a"

type holder struct {
	Public  String
	Pointer *String
	List    []String
	Map     map[string]String
	Any     any
	hidden  String
	inner   struct{ deep []String }
}

func hold(text string) holder {
	s := New(text)
	h := holder{Public: s, Pointer: &s, List: []String{s}, Map: map[string]String{"k": s}, Any: s, hidden: s}
	h.inner.deep = []String{s}
	return h
}

// forms are all that is in the standard library, and in the libraries of the
// product, to make a text of a value.
func forms(t *rapid.T, v any) string {
	var out bytes.Buffer
	for _, verb := range "vsqxXdtbcoOUeEfFgGpw" {
		for _, flags := range []string{"", "+", "#", "-20", "020", " ", ".3", "[1]"} {
			fmt.Fprintf(&out, "%"+flags+string(verb), v)
		}
	}
	fmt.Fprint(&out, v, []any{v}, map[string]any{"k": v})
	fmt.Fprintln(&out, v, errors.Join(fmt.Errorf("doing: %v", v)))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", slog.Any("any", v), slog.Group("g", slog.Any("v", v)))
		slog.New(h).Info("x", "v", v)
		slog.New(h).With("v", v).WithGroup("g").Info(fmt.Sprint(v))
	}
	_ = json.NewEncoder(&out).Encode(map[string]any{"k": v, "l": []any{v}})
	_ = xml.NewEncoder(&out).Encode(v) // a map is an error, which is text too
	if err := gob.NewEncoder(&out).Encode(v); err != nil {
		out.WriteString(err.Error())
	}
	if text, err := yaml.Marshal(v); err == nil {
		out.Write(text)
	}
	page := template.Must(template.New("").Parse("{{.}}<script>var x = {{.}}</script><a href='?{{.}}'>"))
	if err := page.Execute(&out, v); err != nil {
		t.Fatal(err)
	}
	out.WriteString(expvar.Func(func() any { return v }).String())
	out.WriteString(cmp.Diff(v, nil, cmp.Exporter(func(reflect.Type) bool { return true })))
	return out.String()
}

func TestEveryFormatterRedacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zA-Z0-9_.-]{16,80}`).Draw(t, "text")
		h := hold(text)
		for _, v := range []any{h, &h, h.Public, &h.Public, h.List, h.Map, []any{h}, map[string]any{"h": h}} {
			said := forms(t, v)
			for _, form := range []string{
				text, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
				base64.StdEncoding.EncodeToString([]byte(text)), fmt.Sprint([]byte(text)), text[2:14],
			} {
				if strings.Contains(said, form) {
					t.Fatalf("the secret %q leaked as %q from a %T: %s", text, form, v, said)
				}
			}
		}
	})
}

func TestRevealAndEqual(t *testing.T) {
	if New(canary).Reveal() != canary || !New(canary).Equal(New(canary)) || New(canary).Equal(New("other")) {
		t.Fatal("Reveal or Equal does not give back the text")
	}
	if !New("").Empty() || New("").Reveal() != "" || New(canary).Len() != len(canary) {
		t.Fatal("the empty secret is not empty")
	}
}
