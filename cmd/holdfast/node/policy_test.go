package node

import (
	"errors"
	"testing"

	"github.com/holdfast-io/holdfast/broker/policy"
)

// TestPolicyFilesAreUsedOnceTheyStayAsTheyAre has an editor write a file piece by
// piece: what is there in between may be valid, and lack the forbid at its end.
func TestPolicyFilesAreUsedOnceTheyStayAsTheyAre(t *testing.T) {
	const (
		first  = `@id("first") forbid (principal, action, resource);`
		half   = `@id("all") permit (principal, action, resource);`
		whole  = half + "\n" + `@id("not-lost") forbid (principal == Caller::"lost", action, resource);`
		broken = "permit ("
	)
	gone := errors.New("cannot be read")
	var text string
	var missing error
	e := policy.NewEngine(nil)
	f := &policyFiles{what: "policy", use: e.Replace, read: func() (policy.Options, error) {
		if missing != nil {
			return policy.Options{}, missing
		}
		return policy.Options{Sources: []policy.Source{{File: "p.cedar", Text: []byte(text)}}}, nil
	}}
	for i, row := range []struct {
		text    string
		missing error
		rule    string // that decides about lost
		stale   bool
	}{
		{first, nil, "first", false}, // at the start there is nothing that could stay in force
		{half, nil, "first", false},
		{whole, nil, "first", false},
		{whole, nil, "not-lost", false},
		{half, nil, "not-lost", false},
		{whole, nil, "not-lost", false}, // back again,
		{half, nil, "not-lost", false},  // which makes this a first look
		{whole, gone, "not-lost", true},
		{half, nil, "not-lost", true}, // so does a file that was away
		{half, nil, "all", false},
		{broken, nil, "all", false}, // perhaps it is being written
		{broken, nil, "all", true},
		{first, nil, "all", true},
		{first, nil, "first", false},
		{broken, nil, "first", false},
		{broken, nil, "first", true},
		{first, nil, "first", false}, // what is in force needs no second look
	} {
		text, missing = row.text, row.missing
		err := f.look()
		d := e.Decide(&policy.Request{Caller: "lost", Action: policy.Draw})
		if stale := err != nil; d.Rule != row.rule || stale != row.stale || (f.failing != "") != row.stale {
			t.Errorf("look %d: %q decides and the error is %v (failing %q); want %q, stale %v", i, d.Rule, err, f.failing, row.rule, row.stale)
		}
	}
}
