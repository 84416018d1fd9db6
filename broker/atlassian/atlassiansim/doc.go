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
//	GET  /ex/jira/{cloudid}/rest/api/{2,3,latest}/         myself, serverInfo, field, project, project/search,
//	                                                       project/{key}, issue/{key}, search, search/jql;
//	                                                       POST search, search/jql, search/approximate-count
//	GET  /ex/confluence/{cloudid}/wiki/api/v2/             spaces, spaces/{id}, spaces/{id}/pages, pages, pages/{id}
//	GET  /ex/confluence/{cloudid}/wiki/rest/api/           space, space/{key}, content, content/{id}, content/search,
//	                                                       user/current
//	GET  /                                                 an overview for people
//
// The product APIs are read-only stubs, there to page through with a client library:
// each site has the projects OPS and WEB of 25 issues and the spaces DOC and TEAM of 25 pages.
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
// The clock. It runs with the real one; expiries, leeway, limits, the times
// and rates of faults, and unknown_ms follow it. Delays of faults follow the real clock only.
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
//	# an answer that comes after 4 minutes, the token spent at once (0 s to 15 min)
//	curl -s $SIM/_sim/faults -d '{"kind":"delay_answer","delay_ms":240000,"count":1}'
//	# a wave: from a minute on 30% of the families are refused for 10 minutes, then all is well
//	curl -s $SIM/_sim/faults -d '{"kind":"refuse","family_percent":30,"after_seconds":60,"for_seconds":600}'
//	# every family is refused twice, then fine
//	curl -s $SIM/_sim/faults -d '{"kind":"refuse","per_family":2}'
//	# a brown-out: above 20 requests/s 2% more fail for each request/s, at most 80%; none rotates
//	curl -s $SIM/_sim/faults -d '{"kind":"status","status":502,"keep_token":true,"rate_over":20,"rate_slope":2,"percent":80}'
//	# the same, worse: what fails has rotated
//	curl -s $SIM/_sim/faults -d '{"kind":"status","status":502,"rate_over":20,"rate_slope":2,"percent":80}'
//	# a fifth of the new pairs is unknown for the first 1.5 s
//	curl -s $SIM/_sim/faults -d '{"kind":"unknown_at_first","unknown_ms":1500,"percent":20}'
//	curl -s $SIM/_sim/faults                       # list, with what fired how often
//	curl -s -X DELETE $SIM/_sim/faults/fault-1     # disarm one
//	curl -s -X DELETE $SIM/_sim/faults             # disarm all
//
// Switches. See Behaviour for all fields; those not named stay. The values are
// listed here, the default one first.
//
//	curl -s $SIM/_sim/behaviour
//	S="curl -s -X PATCH $SIM/_sim/behaviour"
//	$S -d '{"leeway_seconds":0}'                   # 600: how long a spent token may be sent again
//	$S -d '{"reuse":"any"}'                        # previous, any: which spent tokens that forgives
//	$S -d '{"siblings":"newest"}'                  # both, newest: who lives of two successors
//	$S -d '{"late_reuse":"client"}'                # family, client: what a late reuse ends
//	$S -d '{"access_grace_seconds":-1}'            # 600: life of the old access token after a rotation
//	$S -d '{"access_ttl_seconds":60}'              # 3600
//	$S -d '{"code_ttl_seconds":60}'                # 300
//	$S -d '{"idle_seconds":0}'                     # 90 days
//	$S -d '{"absolute_seconds":0}'                 # 365 days
//	$S -d '{"refusal":"invalid_grant"}'            # unauthorized_client, invalid_grant: dialect of the 403
//	$S -d '{"bad_client":"invalid_client"}'        # access_denied, invalid_client, incorrect_parameters
//	$S -d '{"expired_access":404}'                 # 401, 403, 404: of the product APIs
//	$S -d '{"revoke":"absent"}'                    # effective, no_effect, absent: /oauth/revoke
//	$S -d '{"resources":"duplicated"}'             # shuffled, duplicated, one_url, empty, error
//	$S -d '{"token_bytes":65536}'                  # 2048
//	$S -d '{"code_bytes":4096}'                    # 1024
//	$S -d '{"second_consent":"ends_first"}'        # independent, ends_first, refresh_ends_other
//	$S -d '{"consent_scopes":"override"}'          # leave, override, unite: the earlier families' scopes
//	$S -d '{"uninstall":"removes_site"}'           # ends, removes_site: families that reach the site
//	$S -d '{"password_change":"for_good"}'         # until_back, for_good
//	$S -d '{"deactivated":"bare"}'                 # refusal, access_denied, bare: body of the 403
//	$S -d '{"refresh_token_cap":200}'              # 0, off: live refresh tokens of an account
//
// Whether an app is account-level or resource-level is part of its
// registration (App.Level): a grant is one account's and app's, of a resource-level app also
// one site's, and second consents are about one grant.
//
// The ledger: per family every exchange and the live tokens. It names tokens
// by ids (also the jti in a token's payload) and never holds one. See Ledger. In a
// large simulation set Config.KeepExchanges, and ask for one family or the counts:
//
//	curl -s $SIM/_sim/ledger
//	curl -s $SIM/_sim/families/family-2
//	curl -s $SIM/_sim/counts
//
// Data, and what a developer does in the console: rotation of a client secret
// (both listed ones are valid), other scopes (families keep theirs until a new consent):
//
//	curl -s $SIM/_sim/apps; curl -s $SIM/_sim/accounts; curl -s $SIM/_sim/sites
//	curl -s -X PUT $SIM/_sim/apps/$ID/secrets -d '{"secrets":["old","new"]}'
//	curl -s -X PUT $SIM/_sim/apps/$ID/scopes -d '{"scopes":["read:jira-work","read:me"]}'
//
// What people do. Revoking is the page "Connected apps" (without a body: for
// all apps) and answers {"ended": n}; the others answer {"families": n}, how many they hit:
//
//	curl -s $SIM/_sim/accounts/$ACCOUNT/revoke -d "{\"client_id\":\"$ID\"}"
//	curl -s -X POST $SIM/_sim/accounts/$ACCOUNT/password/change
//	curl -s -X POST $SIM/_sim/accounts/$ACCOUNT/password/restore
//	curl -s -X POST $SIM/_sim/accounts/$ACCOUNT/deactivate
//	curl -s -X POST $SIM/_sim/accounts/$ACCOUNT/reactivate
//	curl -s $SIM/_sim/accounts/$ACCOUNT/sites/remove -d "{\"site\":\"$CLOUD_ID\"}"
//	curl -s $SIM/_sim/accounts/$ACCOUNT/sites/add -d "{\"site\":\"$CLOUD_ID\"}"
//	curl -s $SIM/_sim/apps/$ID/uninstall -d "{\"site\":\"$CLOUD_ID\"}"   # by an admin of the site, for all its users
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
// The state file keeps families, tokens (as hashes), codes, grants, the ledger,
// what was done to accounts, and the clock's offset. Faults, switches, and an app's
// secrets and scopes changed at run time are not kept: a restart begins with the Config.
package atlassiansim
