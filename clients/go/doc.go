// Package holdfast is the Go client of Holdfast, the broker that owns an
// organisation's Atlassian refresh tokens. It hands out short-lived access
// tokens as an oauth2.TokenSource and uses them in an http.RoundTripper.
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
// at once and the token is dropped.
//
// All times count from the broker's server_time, measured from the moment the
// request was sent: a wrong local clock neither lengthens nor shortens a
// token's life.
//
// # Errors
//
// Everything the broker refuses is an *Error, with the reason and what a
// program needs to act on it; see Error. Never log tokens: the %v of an
// oauth2.Token prints it.
package holdfast
