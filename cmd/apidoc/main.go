// Command apidoc is a plugin of protoc and buf that writes the API reference,
// docs/api.md, from the contract: its comments, which state defaults and errors, and
// the rules of its fields. scripts/generate.sh runs it. It is no part of the product.
package main

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/pluginpb"
)

// page is the file that it writes.
const page = "api.md"

func main() {
	protogen.Options{}.Run(func(p *protogen.Plugin) error {
		p.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
		c := contractOf(p)
		c.write(p.NewGeneratedFile(page, ""))
		return nil
	})
}

// contract is all that the page shows, in the order in which people look for it.
type contract struct {
	services []*protogen.Service
	messages []*protogen.Message
	enums    []*protogen.Enum
}

func contractOf(p *protogen.Plugin) *contract {
	c := &contract{}
	for _, f := range p.Files {
		if !f.Generate {
			continue
		}
		c.services = append(c.services, f.Services...)
		c.enums = append(c.enums, f.Enums...)
		c.add(f.Messages)
	}
	// Services as the files have them: tokens first.
	slices.SortStableFunc(c.services, func(a, b *protogen.Service) int {
		return cmp.Compare(rank(a.GoName), rank(b.GoName))
	})
	slices.SortFunc(c.messages, func(a, b *protogen.Message) int { return cmp.Compare(name(a.Desc), name(b.Desc)) })
	slices.SortFunc(c.enums, func(a, b *protogen.Enum) int { return cmp.Compare(name(a.Desc), name(b.Desc)) })
	return c
}

// rank puts what most readers want first.
func rank(service string) int {
	return slices.Index([]string{"AdminService", "ConsentService", "TokenService"}, service) * -1
}

// add adds messages with those inside of them; entries of maps are no messages to people.
func (c *contract) add(messages []*protogen.Message) {
	for _, m := range messages {
		if m.Desc.IsMapEntry() {
			continue
		}
		c.messages = append(c.messages, m)
		c.enums = append(c.enums, m.Enums...)
		c.add(m.Messages)
	}
}
