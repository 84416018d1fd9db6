// Package fosite runs the real holdfast binary against a second authorization
// server that shares no code with it: Ory's fosite, with rotation and reuse
// detection, and a store that forgives reuse inside a leeway, as Atlassian's does.
//
// It is a module of its own, so that the product does not depend on what the
// server depends on; `go test ./...` of the product leaves it out, `make test`
// does not. It holds tests only.
package fosite
