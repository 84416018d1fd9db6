// Package atlassian is the client of the provider, the authorization server:
// Atlassian Cloud, an environment of it, the simulator, or another OAuth 2.0
// server. It makes authorize URLs, exchanges codes, spends refresh tokens and
// asks which sites and which account a token is for. What differs between
// providers is data, a [Profile], never code.
//
// # One POST per spend
//
// A refresh token must not be sent by accident. Each [Provider.Exchange] and
// [Provider.Refresh] therefore dials one connection of its own, carries one
// request on it and closes it: no connection is ever reused, no redirect is
// followed, no HTTP/2, no second try, because none of the machinery that could
// make one is there. The guard runs in the Write of that connection that would
// carry the request's first byte, after name look-up, proxy and TLS handshake.
//
// # What an answer means
//
//	written  what came back                           class
//	no       -                                        NotSpent
//	yes      2xx with a pair                          Settled
//	yes      4xx that a row of the profile lists      the row's: Refused, Misconfigured, Transient
//	yes      anything else: 5xx, 3xx, timeout, reset, InDoubt
//	         half a body, HTML, unlisted 4xx
//
// "Written" is measured below TLS: it is false only if not a single byte was
// handed to the operating system for the request. The pair is looked for in the
// bytes that arrived, whatever their label says (a JSON object shows its own
// end): a complete pair in hand is kept even if the framing around it broke.
//
// The word in [family.Outcome].Code is the row's code or one of:
//
//	guard            the guard said no
//	dns dial refused proxy tls   where it ended before the request
//	timeout canceled             before the request or after it; the class tells
//	reset closed broken          how the connection ended
//	http_NNN         a status without a listed error
//	truncated oversize not_json                   what was wrong with a 2xx body
//	no_access_token no_refresh_token malformed_pair
//	expires_in_assumed   Settled; the provider named no usable life, the profile's was taken
//
// No error, code or log of this package holds a secret or text of the
// provider's body. It deliberately knows nothing of grants, leases or storage.
package atlassian
