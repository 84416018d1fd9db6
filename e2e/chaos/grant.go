package chaos

import (
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Grant under load.
type Grant struct {
	App     rig.App
	Subject string
	Account string
	// Revoked: an operator revokes it again and again, and a person consents anew.
	Revoked bool
}

// String is the grant's address.
func (g *Grant) String() string { return "acme/" + g.Subject + "/" + g.App.Product }

func (g *Grant) selector() *holdfastv1.GrantSelector { return g.App.Grant(g.Subject) }

// Grants are n steady ones of one account, and one of each product that is revoked
// again and again, of another: what a provider ends with a revoked family must not
// be the others'.
func Grants(n int) []*Grant {
	accounts := atlassiansim.DefaultAccounts()
	var list []*Grant
	for i := range n {
		list = append(list, &Grant{App: apps[i%len(apps)], Subject: "steady-" + string(rune('a'+i)), Account: accounts[0].ID})
	}
	for _, a := range apps {
		list = append(list, &Grant{App: a, Subject: "revoked", Account: accounts[1].ID, Revoked: true})
	}
	return list
}
