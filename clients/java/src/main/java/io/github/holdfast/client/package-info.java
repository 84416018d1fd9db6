/**
 * The Java client of Holdfast, the broker that owns an organisation's Atlassian refresh tokens. It
 * hands out short-lived access tokens and sends them with your requests.
 *
 * <pre>{@code
 * try (HoldfastClient client = HoldfastClient.builder("holdfast.internal:7443")
 *     .tlsFiles(Path.of("caller.crt"), Path.of("caller.key"), Path.of("ca.crt")).build()) {
 *   TokenSource source = client.tokenSource("acme/automation/jira").purpose("nightly-sync").build();
 *   AuthorizedHttpClient http = AuthorizedHttpClient.of(source);
 *   HttpRequest request = HttpRequest.newBuilder(source.resolve("/rest/api/3/myself")).build();
 *   HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
 * }
 * }</pre>
 *
 * <h2>Caching</h2>
 *
 * <p>A {@link io.github.holdfast.client.TokenSource} keeps one token in memory and answers from it
 * without a lock and without asking the broker. From the time the broker named on, it asks again in
 * the background while the old token is still good, at most one call at a time however many threads
 * want a token. Past the time up to which the broker guaranteed the token, callers wait for the
 * broker's answer, two seconds at most; if the broker cannot be reached, the old token goes on being
 * handed out until the provider lets it expire (fail static), never longer. A refusal, e.g. of a
 * revoked grant, is believed at once and the token is dropped.
 *
 * <p>All times count from the broker's {@code server_time}, measured from the moment the request was
 * sent: a wrong local clock does not lengthen a token's life.
 *
 * <h2>Errors</h2>
 *
 * <p>Whatever the broker refuses is a {@link io.github.holdfast.client.HoldfastException}, with a
 * subclass for each reason that a program acts on.
 *
 * <p>Nothing here keeps static state: what is not closed belongs to a client that is not closed.
 */
package io.github.holdfast.client;
