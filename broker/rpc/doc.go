// Package rpc is the gRPC edge of the broker: it serves the contract
// holdfast.v1 over mutual TLS and owns four things that must exist once only.
//
//   - Identity: who calls is asked of package identity, for a connection with a
//     certificate or a call with a token; the end of the identity and the epoch of
//     what is believed are compared at every call (admit.go), before a stream of a
//     connection without a certificate begins (header.go), and for standing
//     streams after each change (standing.go).
//   - The way of every call: one interceptor does recovery, identity,
//     validation, metrics and the request id (interceptor.go). It is fused
//     because stacked interceptors cost more than half of a bare server's
//     throughput.
//   - Refusals: one mapping from the broker's reasons to gRPC codes and
//     details (refusal.go). An internal error becomes one fixed sentence with
//     the request id; its cause goes to the log, once.
//   - The translation between the contract's messages and the broker's types.
//
// It leaves to others: who may do what and the audit record (the broker's one
// funnel decides; this package only names the caller), the configuration of
// certificates (cmd), and everything about tokens.
package rpc
