package rpc

import (
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The hot call's rules once more, by hand. The patterns of the contract cost ten
// times as much as the rest of the interceptor, since each is a run of a regular
// expression. What is said here is one-sided: true means that the contract's
// rules hold, false means that protovalidate has to look and to say what is
// wrong. A test holds the two against each other and fails on a new field.

// Bits of class: which patterns a byte may be part of.
const (
	inSegment = 1 << iota // [A-Za-z0-9@._+-]
	inPurpose             // [a-z0-9._-]
	inGrantID             // [a-z2-7]
	inScope               // [!#-\[\]-~]
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		lower, digit := 'a' <= c && c <= 'z', '0' <= c && c <= '9'
		dots := c == '.' || c == '_' || c == '-'
		if lower || digit || dots || 'A' <= c && c <= 'Z' || c == '@' || c == '+' {
			t[c] |= inSegment
		}
		if lower || digit || dots {
			t[c] |= inPurpose
		}
		if lower || '2' <= c && c <= '7' {
			t[c] |= inGrantID
		}
		if '!' <= c && c <= '~' && c != '"' && c != '\\' {
			t[c] |= inScope
		}
	}
	return t
}()

// all reports whether s has 1 to longest bytes, each of the class.
func all(s string, bit uint8, longest int) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for i := range len(s) {
		if class[s[i]]&bit == 0 {
			return false
		}
	}
	return true
}

// plainlyValid reports whether a request of the hot call, or a batch of them, or one to watch,
// certainly keeps the contract's rules. It allocates nothing.
func plainlyValid(req any) bool {
	switch r := req.(type) {
	case *holdfastv1.GetAccessTokenRequest:
		return plainToken(r)
	case *holdfastv1.BatchGetAccessTokensRequest:
		for _, one := range r.GetRequests() {
			if !plainToken(one) {
				return false
			}
		}
		return len(r.GetRequests()) >= 1 && len(r.GetRequests()) <= 100
	case *holdfastv1.WatchAccessTokenRequest:
		return r.GetToken().GetMinTtl() == nil && plainToken(r.GetToken())
	}
	return false
}

func plainToken(r *holdfastv1.GetAccessTokenRequest) bool {
	if !plainSelector(r.GetGrant()) || len(r.GetSite()) > 512 || len(r.GetRequiredScopes()) > 100 {
		return false
	}
	for _, scope := range r.GetRequiredScopes() {
		if !all(scope, inScope, 128) {
			return false
		}
	}
	if d := r.GetMinTtl(); d != nil &&
		(d.Seconds < 0 || d.Seconds >= 86400 || d.Nanos < 0 || d.Nanos >= 1e9) {
		return false
	}
	return r.GetPurpose() == "" || all(r.GetPurpose(), inPurpose, 64)
}

func plainSelector(s *holdfastv1.GrantSelector) bool {
	const prefix = "grt_"
	switch one := s.GetSelector().(type) {
	case *holdfastv1.GrantSelector_Address:
		a := one.Address
		return a != nil && all(a.Tenant, inSegment, 128) && all(a.Subject, inSegment, 128) &&
			all(a.Product, inSegment, 128) && (a.Name == "" || all(a.Name, inSegment, 128))
	case *holdfastv1.GrantSelector_Id:
		return len(one.Id) == len(prefix)+26 && one.Id[:len(prefix)] == prefix && all(one.Id[len(prefix):], inGrantID, 26)
	}
	return false
}
