// Package policy owns the decision who may do what: sets of Cedar policies,
// checked against one schema, default deny. It reads no certificate and no
// header (package rpc makes the caller), writes no record (package audit does)
// and watches no files (who runs it does).
//
// A Set is immutable and remembers its decisions. An Engine holds the set that
// is in force, and perhaps a shadow set that is only compared with it.
package policy

import (
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// Action is what a caller wants to do, one per family of rpcs.
type Action string

// The actions that a set decides about. The last four are the group "admin" of
// the schema.
const (
	Draw        Action = "draw"        // get a token, report one rejected, learn that the grant exists
	Consent     Action = "consent"     // start and follow a consent
	Read        Action = "read"        // list and look at grants, apps, status
	Operate     Action = "operate"     // revoke, let consent again, refresh, pause
	Maintain    Action = "maintain"    // end a quarantine, purge, rotate keys
	Investigate Action = "investigate" // ask who had a token, and why a call is allowed
)

// Actions are all of them, in the order of the schema.
func Actions() []Action { return slices.Clone(actions[:]) }

var actions = [...]Action{Draw, Consent, Read, Operate, Maintain, Investigate}

// number is the action's place in actions; -1: it is none of them.
func (a Action) number() int {
	switch a {
	case Draw:
		return 0
	case Consent:
		return 1
	case Read:
		return 2
	case Operate:
		return 3
	case Maintain:
		return 4
	case Investigate:
		return 5
	}
	return -1
}

// Request is what is known of one call. Nothing keeps its slices.
type Request struct {
	// Caller is its name; empty: nobody, who may do nothing.
	Caller string
	// Kind is how it proved who it is: x509, spiffe, jwt or proxy.
	Kind string
	// Groups of its identity; those of the configuration come on top.
	Groups []string
	Action Action
	// Address of the grant; zero: the action is about the broker.
	Address storage.Address
	// Site, Scopes and Purpose as the caller asked; empty: it did not.
	Site    string
	Scopes  []string
	Purpose string
	Now     time.Time
}

// Decision of a set.
type Decision struct {
	Allow bool
	// Rule is the @id of what decided: the first permit, or the first forbid, in
	// order of loading. Empty for the default deny.
	Rule string
}

// Rule gives rights to one caller in the configuration's short form, which is
// compiled to one policy with the id "callers[NAME]".
type Rule struct {
	// Caller is the name of its identity.
	Caller string
	// Grants that it may draw from: patterns "tenant/subject/product[/name]",
	// each segment literal or with * for any run of characters. A pattern of
	// three segments covers the default name only.
	Grants []string
	// Consents that it may start: patterns of the same form.
	Consents []string
	// Admin allows everything of AdminService, and every consent. It does not
	// allow to draw tokens.
	Admin bool
}
