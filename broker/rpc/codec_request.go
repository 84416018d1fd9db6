package rpc

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The two messages of the hot call once more, read here and written in
// codec_answer.go by hand: protobuf walks its tables for them, which takes twice as
// long. As in plain.go, what is done here is one-sided: true means that the message,
// or the bytes, are what protobuf would have made, false that protobuf has to do it.
// Tests hold the two against each other, and fail on a new field of an answer.

// plainLongest is the longest request that is read here, in bytes. Its strings
// share one copy of it, so that whoever keeps one of them keeps all.
const plainLongest = 512

// Tags of the fields that are read here: number<<3 | wire type.
const (
	tagGrant      = 1<<3 | uint64(protowire.BytesType)
	tagSite       = 2<<3 | uint64(protowire.BytesType)
	tagScope      = 3<<3 | uint64(protowire.BytesType)
	tagMinTTL     = 4<<3 | uint64(protowire.BytesType)
	tagGeneration = 5<<3 | uint64(protowire.VarintType)
	tagPurpose    = 6<<3 | uint64(protowire.BytesType)

	tagSelectID      = 1<<3 | uint64(protowire.BytesType)
	tagSelectAddress = 2<<3 | uint64(protowire.BytesType)

	tagTenant  = 1<<3 | uint64(protowire.BytesType)
	tagSubject = 2<<3 | uint64(protowire.BytesType)
	tagProduct = 3<<3 | uint64(protowire.BytesType)
	tagName    = 4<<3 | uint64(protowire.BytesType)

	tagSeconds = 1<<3 | uint64(protowire.VarintType)
	tagNanos   = 2<<3 | uint64(protowire.VarintType)
)

// readPlain reads a request into r, which is new. False, with r as it was: it is
// no request, or has what is rare, such as a field twice or a negative duration.
func readPlain(data []byte, r *holdfastv1.GetAccessTokenRequest) bool {
	if len(data) > plainLongest {
		return false
	}
	var out holdfastv1.GetAccessTokenRequest
	var seen fieldSet
	for rest := string(data); rest != ""; {
		f, left, ok := takeField(rest)
		if !ok || seen.again(f.tag) && f.tag != tagScope {
			return false
		}
		switch rest = left; f.tag {
		case tagGrant:
			if out.Grant = readSelector(f.text); out.Grant == nil {
				return false
			}
		case tagSite:
			out.Site = f.text
		case tagScope:
			out.RequiredScopes = append(out.RequiredScopes, f.text)
		case tagMinTTL:
			if out.MinTtl = readDuration(f.text); out.MinTtl == nil {
				return false
			}
		case tagGeneration:
			out.IfNotGeneration = f.value
		case tagPurpose:
			out.Purpose = f.text
		default:
			return false
		}
	}
	for _, scope := range out.RequiredScopes {
		if !utf8.ValidString(scope) {
			return false
		}
	}
	if !utf8.ValidString(out.Site) || !utf8.ValidString(out.Purpose) {
		return false
	}
	r.Grant, r.Site, r.RequiredScopes, r.MinTtl = out.Grant, out.Site, out.RequiredScopes, out.MinTtl
	r.IfNotGeneration, r.Purpose = out.IfNotGeneration, out.Purpose
	return true
}

// field is a text, a message inside, or a number.
type field struct {
	tag   uint64
	text  string
	value uint64
}

// fieldSet has a bit for each number of a field, of which there are less than 16.
type fieldSet uint16

// again reports whether a field's number was there before. takeField lets none
// pass that has no bit.
func (s *fieldSet) again(tag uint64) bool {
	bit := fieldSet(1) << (tag >> 3)
	was := *s&bit != 0
	*s |= bit
	return was
}

// takeField takes the first field off s.
func takeField(s string) (f field, rest string, ok bool) {
	if f.tag, s, ok = takeNumber(s); !ok || f.tag >= 16<<3 {
		return f, "", false
	}
	if f.value, s, ok = takeNumber(s); !ok {
		return f, "", false
	}
	switch protowire.Type(f.tag & 7) {
	case protowire.VarintType:
		return f, s, true
	case protowire.BytesType:
		if f.value > uint64(len(s)) {
			return f, "", false
		}
		f.text = s[:f.value]
		return f, s[f.value:], true
	}
	return f, "", false
}

// takeNumber takes a varint of at most 4 bytes, which is below 1<<28.
func takeNumber(s string) (n uint64, rest string, ok bool) {
	for i := range min(len(s), 4) {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return n, s[i+1:], true
		}
	}
	return 0, "", false
}

// readSelector returns nil for what is not exactly one name of a grant.
func readSelector(s string) *holdfastv1.GrantSelector {
	f, rest, ok := takeField(s)
	if !ok || rest != "" {
		return nil
	}
	switch f.tag {
	case tagSelectID:
		if utf8.ValidString(f.text) {
			return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: f.text}}
		}
	case tagSelectAddress:
		// One allocation for what is always made together.
		m := &struct {
			selector holdfastv1.GrantSelector
			one      holdfastv1.GrantSelector_Address
			address  holdfastv1.GrantAddress
		}{}
		if !readAddress(f.text, &m.address) {
			return nil
		}
		m.one.Address = &m.address
		m.selector.Selector = &m.one
		return &m.selector
	}
	return nil
}

func readAddress(s string, a *holdfastv1.GrantAddress) bool {
	var seen fieldSet
	for s != "" {
		f, rest, ok := takeField(s)
		if !ok || seen.again(f.tag) || !utf8.ValidString(f.text) {
			return false
		}
		switch s = rest; f.tag {
		case tagTenant:
			a.Tenant = f.text
		case tagSubject:
			a.Subject = f.text
		case tagProduct:
			a.Product = f.text
		case tagName:
			a.Name = f.text
		default:
			return false
		}
	}
	return true
}

// readDuration returns nil for what is no duration, or a rare one: below 0, or of
// 2^28 seconds and more. Fractions of a second above a quarter are left to protobuf too.
func readDuration(s string) *durationpb.Duration {
	d := &durationpb.Duration{}
	var seen fieldSet
	for s != "" {
		f, rest, ok := takeField(s)
		if !ok || seen.again(f.tag) {
			return nil
		}
		switch s = rest; f.tag {
		case tagSeconds:
			d.Seconds = int64(f.value)
		case tagNanos:
			d.Nanos = int32(f.value)
		default:
			return nil
		}
	}
	return d
}
