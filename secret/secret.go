// Package secret owns the one type that carries secrets through the program:
// refresh tokens, access tokens, client secrets, authorization codes, keys.
// Every formatter redacts it; Reveal is the single, greppable way out.
package secret

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[redacted]"

// String is a secret text. The zero value is the empty secret.
//
// The text is held behind a pointer: fmt prints a nested unexported pointer as
// an address, so that not even a %+v of a struct which embeds a String in an
// unexported field shows the text. Compare with Equal, never with ==.
type String struct{ p *string }

// New wraps s.
func New(s string) String {
	if s == "" {
		return String{}
	}
	return String{p: &s}
}

// Reveal returns the secret text. Every call of it is a place to review.
func (s String) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// Empty reports whether there is no secret text.
func (s String) Empty() bool { return s.p == nil }

// Len returns the length of the secret text in bytes.
func (s String) Len() int { return len(s.Reveal()) }

// Equal compares two secrets in time that depends on their lengths only.
func (s String) Equal(o String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}

// String implements fmt.Stringer with a fixed text.
func (s String) String() string { return redacted }

// GoString implements fmt.GoStringer with a fixed text.
func (s String) GoString() string { return redacted }

// LogValue implements slog.LogValuer with a fixed text.
func (s String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler with a fixed text.
func (s String) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler with a fixed text.
func (s String) MarshalText() ([]byte, error) { return []byte(redacted), nil }
