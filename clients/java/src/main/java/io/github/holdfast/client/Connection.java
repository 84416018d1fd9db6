package io.github.holdfast.client;

import io.grpc.ManagedChannel;
import java.util.function.BooleanSupplier;

/**
 * What a client connects by that has no channel of its caller's.
 *
 * @param channel closes with the client
 * @param way for words, should the broker not be reached
 * @param renewed reports whether this caller's certificate is another than when it was last asked: a
 *     connection that stands shows the old one until its end, and beyond
 */
record Connection(ManagedChannel channel, Way way, BooleanSupplier renewed) {}
