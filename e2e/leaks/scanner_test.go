package leaks

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/url"
	"strings"
	"sync"
)

// piece is how many bytes of a secret in a row count as a leak of it.
const piece = 12

// needle is a piece of a secret in one encoding. Its first piece bytes are its
// key in the scanner; rest follows them.
type needle struct {
	kind, encoding string
	rest           string
}

// scanner finds pieces of secrets. The zero value knows none.
type scanner struct {
	mu      sync.Mutex // guards what follows
	secrets map[string]string
	needles map[string][]needle
	// likely has a bit for the hash of each key's first four bytes: nearly all
	// offsets of a text are done with after one look.
	likely [1 << 16]uint64
}

// plant makes text known as a secret of that kind. What is in it must be random:
// a piece that occurs elsewhere by right would be found there.
func (s *scanner) plant(kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.secrets[text]; known || len(text) < piece {
		return
	}
	if s.secrets == nil {
		s.secrets, s.needles = map[string]string{}, map[string][]needle{}
	}
	s.secrets[text] = kind
	s.pieces(kind, "as it is", text, piece)
	s.pieces(kind, "hex", hex.EncodeToString([]byte(text)), 2*piece)
	s.pieces(kind, "HEX", string(bytes.ToUpper([]byte(hex.EncodeToString([]byte(text))))), 2*piece)
	for name, code := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for shift := range 3 { // where in a group of three bytes the secret begins
			encoded := code.EncodeToString(append(make([]byte, shift), text...))
			// The first and the last character may hold bits of what stands beside the secret.
			s.pieces(kind, name, encoded[(shift*8+5)/6:len(encoded)-1], 4*piece/3)
		}
	}
	for name, escaped := range escapes(text) {
		if escaped != text {
			s.pieces(kind, name, escaped, piece)
		}
	}
	numbers := fmt.Sprint([]byte(text)) // "[99 97 110]", of three characters or four each
	s.pieces(kind, "as numbers", numbers[1:len(numbers)-1], 3*piece)
	numbers = fmt.Sprintf("%#v", []byte(text)) // "[]byte{0x63, 0x61, 0x6e}", of six each
	s.pieces(kind, "as hexadecimal numbers", numbers[len("[]byte{"):len(numbers)-1], 6*piece)
}

// escapes are the forms that texts take inside of others.
func escapes(text string) map[string]string {
	inner := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	quoted, _ := json.Marshal(text) // a string always has a form
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // into memory
	return map[string]string{
		"query-escaped": url.QueryEscape(text), "path-escaped": url.PathEscape(text), "HTML-escaped": html.EscapeString(text),
		"JSON": inner(string(quoted)), "JSON without HTML": inner(strings.TrimSpace(plain.String())),
		"quoted by Go": inner(fmt.Sprintf("%q", text)), "quoted by Go in ASCII": inner(fmt.Sprintf("%+q", text)),
	}
}

// pieces adds every run of n bytes of an encoded secret.
func (s *scanner) pieces(kind, encoding, text string, n int) {
	for i := 0; i+n <= len(text); i++ {
		key := text[i : i+piece]
		s.needles[key] = append(s.needles[key], needle{kind, encoding, text[i+piece : i+n]})
		h := hash(key)
		s.likely[h/64] |= 1 << (h % 64)
	}
}

func hash[T string | []byte](b T) uint32 {
	return (uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24) * 2654435761 >> 10
}

// count returns how many secrets of each kind are known.
func (s *scanner) count() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, kind := range s.secrets {
		n[kind]++
	}
	return n
}

// finding is a secret that was found.
type finding struct{ kind, encoding, near string }

// find looks for every known secret but those of the kinds that may be there. It
// returns the first finding of each kind and encoding, and looks into gzip.
func (s *scanner) find(data []byte, but ...string) []finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[finding]bool{}
	var found []finding
	for _, kind := range but {
		seen[finding{kind: kind, encoding: "as it is"}] = true
	}
	s.scan(data, seen, &found)
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			inside, _ := io.ReadAll(r) // what can be read of it
			s.scan(inside, seen, &found)
		}
	}
	return found
}

// nothing is a page of a file that nobody has written to; no secret is that long.
var nothing [4096]byte

func (s *scanner) scan(data []byte, seen map[finding]bool, found *[]finding) {
	for i := 0; i+piece <= len(data); i++ {
		if i%len(nothing) == 0 && bytes.HasPrefix(data[i:], nothing[:]) {
			i += len(nothing) - piece // preallocated files are nothing else for the most part
		}
		if h := hash(data[i:]); s.likely[h/64]>>(h%64)&1 == 0 {
			continue
		}
		for _, n := range s.needles[string(data[i:i+piece])] {
			if id := (finding{kind: n.kind, encoding: n.encoding}); !seen[id] && bytes.HasPrefix(data[i+piece:], []byte(n.rest)) {
				seen[id] = true
				near := data[max(0, i-100):min(len(data), i+piece+len(n.rest)+20)]
				*found = append(*found, finding{n.kind, n.encoding, fmt.Sprintf("offset %d: %.300q", i, near)})
			}
		}
	}
}
