package policy

import (
	_ "embed" // the schema is data
	"fmt"
	"strings"
	"sync"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/holdfast-io/holdfast/storage"
)

//go:embed schema.cedarschema
var schemaText string

// Schema is the Cedar schema that policies are checked against, as a text.
func Schema() string { return schemaText }

// The entity types of the schema.
const (
	typeGroup   types.EntityType = "Group"
	typeCaller  types.EntityType = "Caller"
	typeTenant  types.EntityType = "Tenant"
	typeProduct types.EntityType = "Product"
	typeGrant   types.EntityType = "Grant"
	typeBroker  types.EntityType = "Broker"
	typeAction  types.EntityType = "Action"
)

var (
	theBroker   = types.NewEntityUID(typeBroker, "broker")
	adminAction = types.NewEntityUID(typeAction, "admin")
)

func actionUID(a Action) types.EntityUID { return types.NewEntityUID(typeAction, types.String(a)) }

// validator is made once; the schema is part of the program.
var validator = sync.OnceValue(func() *validate.Validator {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar([]byte(schemaText)); err != nil {
		panic("the policy schema does not parse: " + err.Error())
	}
	resolved, err := s.Resolve()
	if err != nil {
		panic("the policy schema does not resolve: " + err.Error())
	}
	return validate.New(resolved)
})

// check reports what the schema has against a policy, one sentence each.
func check(p *cedar.Policy) []string {
	tree := (*ast.Policy)(p.AST())
	var found []string
	if err := validator().Policy("", tree); err != nil {
		for line := range strings.Lines(err.Error()) {
			found = append(found, explained(strings.TrimSpace(line)))
		}
	}
	for _, uid := range literals(tree) {
		if complaint := badLiteral(uid); complaint != "" {
			found = append(found, complaint)
		}
	}
	return found
}

// explained adds what to do to complaints that many will meet.
func explained(complaint string) string {
	switch {
	case strings.Contains(complaint, "entity type `Broker` not found"):
		return complaint + "; the rule is about grants: write `resource is Grant` into its head"
	case strings.Contains(complaint, "optional attribute"):
		return complaint + "; ask first, as in `context has purpose && context.purpose == \"ci\"`"
	case strings.HasPrefix(complaint, "unrecognized action"):
		return complaint + "; there are draw, consent, read, operate, maintain, investigate and the group admin"
	case strings.HasPrefix(complaint, "unrecognized entity type"):
		return complaint + "; there are Caller, Group, Grant, Tenant, Product and Broker"
	}
	return complaint
}

// badLiteral says why nothing can ever be called uid; "": something can. Cedar
// itself takes any text, and the rule would silently never match.
func badLiteral(uid types.EntityUID) string {
	id := string(uid.ID)
	switch uid.Type {
	case typeGrant:
		a, err := storage.ParseAddress(id)
		if err != nil {
			return fmt.Sprintf("%s: %v", uid, err)
		}
		if a.String() != id {
			return fmt.Sprintf("%s is never asked about; write Grant::%q", uid, a.String())
		}
	case typeTenant, typeProduct:
		a := storage.Address{Tenant: id, Subject: "x", Product: "x", Name: "x"}
		if a.Validate() != nil {
			return fmt.Sprintf("%s: want 1 to 128 of the characters A-Z a-z 0-9 @ . _ + -; for a pattern write `resource.%s like \"...\"`",
				uid, strings.ToLower(string(uid.Type)))
		}
	case typeBroker:
		if uid != theBroker {
			return fmt.Sprintf("%s is never asked about; write %s", uid, theBroker)
		}
	case typeCaller, typeGroup:
		if id == "" {
			return fmt.Sprintf("%s: the name is empty", uid)
		}
	}
	return ""
}
