package policy

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// facts are what a policy reads of a request: a decision is remembered by these
// alone. The action, and whether the request is about a grant at all, always count.
type facts uint16

const (
	factName facts = 1 << iota
	factKind
	factGroups
	factTenant
	factSubject
	factProduct
	factGrantName
	factScopes
	factPurpose
	factSite
	factTime // a decision that reads the time is never remembered

	factPrincipal = factName | factKind | factGroups
	factAddress   = factTenant | factSubject | factProduct | factGrantName
	factContext   = factScopes | factPurpose | factSite | factTime
)

var attributes = map[types.String]map[types.String]facts{
	"principal": {"name": factName, "kind": factKind},
	"resource":  {"tenant": factTenant, "subject": factSubject, "product": factProduct, "name": factGrantName},
	"context": {"scopes": factScopes, "purpose": factPurpose, "site": factSite,
		"time": factTime, "hour": factTime, "weekday": factTime},
}

var variables = map[types.String]facts{
	"principal": factPrincipal, "resource": factAddress, "context": factContext, "action": 0,
}

// everything is what an expression reads that this package does not understand.
const everything = factPrincipal | factAddress | factContext

// readsOf says what a policy reads. Where it is not sure it says more.
func readsOf(p *ast.Policy) facts {
	out := scopeReads(p.Principal, "principal") | scopeReads(p.Resource, "resource")
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			got, done := nodeReads(n)
			out |= got
			return !done
		})
	}
	return out
}

// nodeReads is what a node reads; done: its children have been counted.
func nodeReads(n ast.IsNode) (got facts, done bool) {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		return attributeReads(n.Arg, n.Value)
	case ast.NodeTypeHas:
		return attributeReads(n.Arg, n.Value)
	case ast.NodeTypeIs:
		_, plain := n.Left.(ast.NodeTypeVariable)
		return 0, plain // the types of the variables follow from the action and from whether there is a grant
	case ast.NodeTypeIn:
		return membershipReads(n.Left, n.Right)
	case ast.NodeTypeIsIn:
		return membershipReads(n.Left, n.Entity)
	case ast.NodeTypeVariable:
		if f, known := variables[n.Name]; known {
			return f, true
		}
		return everything, true
	case ast.NodeValue:
		return valueReads(n.Value), true
	}
	return 0, false
}

func attributeReads(of ast.IsNode, name types.String) (facts, bool) {
	v, plain := of.(ast.NodeTypeVariable)
	if !plain {
		return 0, false
	}
	if f, known := attributes[v.Name][name]; known {
		return f, true
	}
	return variables[v.Name], true
}

// membershipReads counts `resource in Tenant::"acme"` as reading the tenant only.
func membershipReads(left, right ast.IsNode) (facts, bool) {
	v, plain := left.(ast.NodeTypeVariable)
	literal, isValue := right.(ast.NodeValue)
	if !plain || !isValue {
		return 0, false
	}
	uid, isEntity := literal.Value.(types.EntityUID)
	if !isEntity {
		return 0, false
	}
	return memberOf(v.Name, uid), true
}

func memberOf(variable types.String, uid types.EntityUID) facts {
	switch {
	case variable == "action":
		return 0
	case variable == "principal" && uid.Type == typeGroup:
		return factGroups
	case variable == "principal" && uid.Type == typeCaller:
		return factName
	case variable == "resource" && uid.Type == typeTenant:
		return factTenant
	case variable == "resource" && uid.Type == typeProduct:
		return factProduct
	case variable == "resource" && uid.Type == typeBroker:
		return 0
	}
	return variables[variable]
}

// valueReads: the entity of a literal is there only if the request is about it.
func valueReads(v types.Value) facts {
	switch v := v.(type) {
	case types.EntityUID:
		switch v.Type {
		case typeCaller:
			return factPrincipal
		case typeGrant:
			return factAddress
		}
		return 0
	case types.Set, types.Record:
		return everything
	}
	return 0
}

func scopeReads(scope ast.IsScopeNode, variable types.String) facts {
	switch s := scope.(type) {
	case ast.ScopeTypeAll, ast.ScopeTypeIs:
		return 0
	case ast.ScopeTypeEq:
		if s.Entity == theBroker {
			return 0
		}
		if variable == "principal" {
			return factName
		}
		return factAddress
	case ast.ScopeTypeIn:
		return memberOf(variable, s.Entity)
	case ast.ScopeTypeIsIn:
		return memberOf(variable, s.Entity)
	}
	return variables[variable]
}

// literals are the entities that a policy names.
func literals(p *ast.Policy) []types.EntityUID {
	var out []types.EntityUID
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Resource} {
		switch s := scope.(type) {
		case ast.ScopeTypeEq:
			out = append(out, s.Entity)
		case ast.ScopeTypeIn:
			out = append(out, s.Entity)
		case ast.ScopeTypeIsIn:
			out = append(out, s.Entity)
		}
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				if uid, ok := v.Value.(types.EntityUID); ok {
					out = append(out, uid)
				}
			}
			return true
		})
	}
	return out
}
