// Package holdfast is the Go client of Holdfast, the broker that owns an
// organisation's Atlassian refresh tokens. It hands out short-lived access
// tokens as an oauth2.TokenSource and uses them in an http.RoundTripper and as
// credentials of gRPC calls. Package holdfasttest is a broker for unit tests.
//
//	client, err := holdfast.Dial("holdfast.internal:7443",
//		holdfast.WithTLSFiles("caller.crt", "caller.key", "ca.crt"))
//	...
//	defer client.Close()
//	source := client.TokenSource(ctx, "acme/automation/jira", holdfast.Purpose("nightly-sync"))
//	jira := &http.Client{Transport: &holdfast.Transport{Source: source, Relative: true}}
//	resp, err := jira.Get("/rest/api/3/myself")
//
// # Caching
//
// A TokenSource keeps one token in memory and answers from it without asking
// the broker. From the time the broker named on, it asks again in the background
// while the old token is still good, at most one call at a time however many
// goroutines want a token. Past the time up to which the broker guaranteed the
// token, callers wait for the broker's answer; if the broker cannot be reached,
// the old token goes on being handed out until the provider lets it expire
// (fail static), never longer. A refusal, e.g. of a revoked grant, is believed
// at once and the token is dropped. A source with the option Watch learns of newer
// tokens and of refusals as they come, by a stream, and does all of this while it has none.
//
// All times count from the broker's server_time, measured from the moment the
// request was sent: a wrong local clock neither lengthens nor shortens a
// token's life. Only a clock that is set, or a machine that was suspended, makes a token
// seem older than it is.
//
// # Calls, contexts and traces
//
// However many callers wait, there is one call to the broker, bounded by the client's
// timeout. It carries the values of the context of the caller that caused it, so that a
// trace goes on (see WithGRPC), but neither that caller's deadline, nor its cancellation, nor the
// metadata of its own gRPC calls. Client.Close ends all calls and streams, and waits for them.
//
// # Errors
//
// Everything the broker refuses is an *Error, with the reason and what a
// program needs to act on it; see Error. Never log tokens: the %v of an
// oauth2.Token prints it.
package holdfast
