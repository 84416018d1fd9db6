// Package web serves the broker's own HTTP pages for the people who consent:
// the connect page that says what is about to be granted, the callback that
// the provider sends the browser back to, and one page for every status that a
// consent can end in.
//
// It owns what a browser needs to be safe here: the cookie that binds a consent
// to one browser, the response headers (a strict Content-Security-Policy
// first), cross-origin protection of every POST, limits, and request logs
// without paths or queries, because links, codes and states travel in them.
// It uses no JavaScript.
//
// It leaves every decision to the broker behind the Broker interface: signing
// and expiry of links, one-use state, the single exchange of a code, what a
// re-consent may replace. Listeners, TLS, health and metrics belong to whoever
// mounts the handler.
//
// # Routes
//
//	GET  /connect/{link}          what would be granted, to whom; writes nothing
//	POST /connect/{link}          sets the cookie, 303 to the provider
//	GET  /oauth/callback          hands the answer to the broker, 303 away from code and state
//	GET  /consents/{id}           where the consent stands, for the browser that holds its cookie
//	POST /consents/{id}/confirm   decision=accept or decision=discard, 303 to /consents/{id}
//	GET  /problems/{kind}         a callback that belongs to no consent of this browser
//	GET  /static/{version}/{file} style sheets and icon, immutable
//
// The callback answers with a page of its own only when the broker is
// unavailable: nothing was consumed then, and reloading it is the way to go on.
package web
