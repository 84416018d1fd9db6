// Package broker is the product without its edges: it owns the grants of an
// organisation, rotates their refresh tokens and hands out access tokens.
//
// One request for a token goes: gate (policy, and an audit record before the
// answer) -> hot cache -> answer. On a miss: read the record, ask
// family.Plan, and join the one refresh of that grant, which announces its
// attempt durably, spends, settles durably, and only then publishes.
//
// The package knows no gRPC and no HTTP handler (packages rpc and web), no
// storage driver (package storage) and no provider's wire format (package
// atlassian). It decides nothing about a family's state: package family does.
package broker
