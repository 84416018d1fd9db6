// Package identity owns who a caller is: from what a client shows (a
// certificate, a SPIFFE document or a bearer token) to one immutable value that
// names the caller, its groups and the end of its identity. Nothing else in the
// product reads certificates, tokens or the headers that carry them.
//
// What is believed is a Trust: certificate authorities, bundles of trust
// domains, issuers of tokens. Each change of it begins a new epoch. An identity
// is remembered with the epoch in which it was verified, for as long as its
// connection or its token lives, and compared with the present one at each call
// by one atomic load: where they differ it is verified again, so that whoever is
// not believed any more ends at its next call, and all others notice nothing.
//
// Names of callers are one namespace for all kinds. What a trust domain or an
// issuer names has a prefix of its own that no other source can produce: see Names.
//
// The package leaves to others what a caller may do (package policy), how a
// refusal looks on the wire (package rpc), and which files are read (cmd).
package identity
