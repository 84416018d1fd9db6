/**
 * A broker for unit tests of programs that use this client: it runs in the test's own process, and
 * the client that it gives is the real one.
 */
package io.github.holdfast.client.testing;
