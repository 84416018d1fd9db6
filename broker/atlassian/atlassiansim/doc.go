// Package atlassiansim simulates Atlassian's OAuth 2.0 (3LO) provider: a real
// HTTP server with a controllable clock, one ground-truth ledger, scripted
// faults, and a switch for everything that is unknown about the real one. It is
// shipped to users as "holdfast sim".
//
// It owns the provider's side only: apps, accounts, sites, consents, token
// families, and what the endpoints answer. It knows nothing of the broker, uses no
// network but the listener it is given, and prints nothing.
//
// # Endpoints
//
// All of the provider's hosts share one origin:
//
//	GET  /authorize                                        consent pages, or automatic
//	GET  /error                                            where a wrong client, scope or callback URL ends
//	POST /oauth/token                                      JSON or form body
//	POST /oauth/revoke                                     absent, no effect or effective (switch)
//	GET  /oauth/token/accessible-resources
//	GET  /me
//	GET  /ex/jira/{cloudid}/rest/api/3/myself
//	GET  /ex/jira/{cloudid}/rest/api/3/project/search
//	GET  /ex/confluence/{cloudid}/wiki/api/v2/spaces       and wiki/rest/api/space
//	GET  /                                                 an overview for people
//
// The consent pages work without JavaScript. Their elements have the ids
// account-0, account-1, ... and continue on the first page; site, accept and
// deny on the second; error and error-description on the error page.
//
// A consent is answered without a page if Config.AutoConsent is set, or for
// one request by the query parameter sim_consent=accept|deny|ask or the header
// X-Sim-Consent of the same values (the parameter wins). sim_account=ACCOUNT_ID and
// sim_site=CLOUD_ID choose; without them the first that fits is taken:
//
//	curl -si "$SIM/authorize?audience=api.atlassian.com&client_id=$ID&scope=read:jira-work%20offline_access&redirect_uri=$CALLBACK&response_type=code&prompt=consent&state=s1&sim_consent=accept"
//
// # Control API
//
// Bodies are JSON and unknown fields are errors; an error is {"error": "..."}
// with status 400 or 404.
//
// The clock. It runs with the real one; expiries, leeway and limits follow
// it. Delays of faults follow the real clock only.
//
//	curl -s $SIM/_sim/clock
//	curl -s $SIM/_sim/clock/advance -d '{"by":"11m"}'
//	curl -s $SIM/_sim/clock/set -d '{"now":"2027-01-31T12:00:00Z"}'
//
// Faults. See Fault for all fields. Of the armed ones the first that matches a
// request applies to it, alone.
//
//	# the next 2 refreshes rotate, and their answers are lost
//	curl -s $SIM/_sim/faults -d '{"kind":"drop_before_answer","grant_type":"refresh_token","count":2}'
//	# one family is refused three times although it is well, then served
//	curl -s $SIM/_sim/faults -d '{"kind":"refuse","family":"family-2","count":3}'
//	# a tenth of all token requests meets a 502 and does not rotate
//	curl -s $SIM/_sim/faults -d '{"kind":"status","status":502,"keep_token":true,"percent":10}'
//	# a lost race at another server
//	curl -s $SIM/_sim/faults -d '{"kind":"oauth_error","error":"invalid_request","error_description":"Due to multiple concurrent requests, the token could not be refreshed; retry","count":1}'
//	# rate limit, Retry-After as an HTTP date
//	curl -s $SIM/_sim/faults -d '{"kind":"rate_limit","retry_after_seconds":30,"retry_after_form":"date","count":1}'
//	curl -s $SIM/_sim/faults                       # list, with what fired how often
//	curl -s -X DELETE $SIM/_sim/faults/fault-1     # disarm one
//	curl -s -X DELETE $SIM/_sim/faults             # disarm all
//
// Switches. See Behaviour for all fields; those not named stay.
//
//	curl -s $SIM/_sim/behaviour
//	curl -s -X PATCH $SIM/_sim/behaviour -d '{"leeway_seconds":0,"refusal":"invalid_grant"}'
//
// The ledger: per family every exchange and the live tokens. It names tokens
// by ids (also the jti in a token's payload) and never holds one. See Ledger.
//
//	curl -s $SIM/_sim/ledger
//
// Data, rotation of a client secret (both listed ones are valid), and what a
// person does on the page "Connected apps" (without a body: for all apps):
//
//	curl -s $SIM/_sim/apps; curl -s $SIM/_sim/accounts; curl -s $SIM/_sim/sites
//	curl -s -X PUT $SIM/_sim/apps/$ID/secrets -d '{"secrets":["old","new"]}'
//	curl -s $SIM/_sim/accounts/$ACCOUNT/revoke -d "{\"client_id\":\"$ID\"}"
//
// # The way of a refresh token
//
//	          exchange                      leeway over
//	live ----------------> spent, forgiven --------------> spent
//	                         | sent again: a sibling of      | sent again: the family
//	                         | its successor, accepted       | ends (EndReuse), 403
//
// What the leeway forgives, whether siblings live side by side, and how much a late
// reuse ends, are switches. Refresh tokens of an ended family answer 403; its access tokens live on
// to their expiry, unless the person or the app revoked them.
//
// # In a program
//
//	sim, err := atlassiansim.New(atlassiansim.Config{Apps: apps, StateFile: "sim.json"})
//	...
//	ln, err := net.Listen("tcp", "127.0.0.1:0")
//	...
//	return atlassiansim.Serve(ctx, ln, sim, log)
//
// Under testing/synctest, serve on a Pipe and give its DialContext to the client.
//
// The state file keeps families, tokens (as hashes), codes, grants, the ledger and the
// clock's offset. Faults, switches and secrets changed at run time are not
// kept: a restart begins with the Config.
package atlassiansim
