package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const heading = `<!-- Code generated from proto/holdfast/v1 by cmd/apidoc. DO NOT EDIT. -->

# API reference

The contract ` + "`holdfast.v1`" + `, served over gRPC with mutual TLS. What may change in it, and when, stands in
[compatibility.md](compatibility.md). The protos are in [proto/holdfast/v1](../proto/holdfast/v1); a running broker answers
server reflection.

`

// anchors of the fixed headings.
const reasons = "ErrorReason"

func (c *contract) write(out *protogen.GeneratedFile) {
	out.P(heading)
	for _, s := range c.services {
		out.P("* ", link(s.Desc))
		for _, m := range s.Methods {
			out.P("  * ", link(m.Desc))
		}
	}
	out.P("* [", reasons, "](#", strings.ToLower(reasons), "): why a call was refused")
	out.P("* [Messages](#messages)")
	out.P("* [Enums](#enums)")
	for _, s := range c.services {
		c.service(out, s)
	}
	for _, e := range c.enums {
		if name(e.Desc) == reasons {
			c.reasons(out, e)
		}
	}
	out.P("\n## Messages\n")
	for _, m := range c.messages {
		c.message(out, m)
	}
	out.P("\n## Enums\n")
	for _, e := range c.enums {
		if name(e.Desc) != reasons {
			c.enum(out, e)
		}
	}
}

func (c *contract) service(out *protogen.GeneratedFile, s *protogen.Service) {
	out.P("\n## ", name(s.Desc), "\n")
	out.P(paragraphs(s.Comments))
	for _, m := range s.Methods {
		out.P("\n### ", m.Desc.Name(), "\n")
		out.P("`", m.Desc.FullName().Parent(), "/", m.Desc.Name(), "` takes ", stream(m.Desc.IsStreamingClient()), link(m.Input.Desc),
			" and answers ", stream(m.Desc.IsStreamingServer()), link(m.Output.Desc), ".\n")
		out.P(paragraphs(m.Comments))
	}
}

func stream(is bool) string {
	if is {
		return "a stream of "
	}
	return ""
}

// reasons are a table of their own: the code of each is the first word of its comment.
func (c *contract) reasons(out *protogen.GeneratedFile, e *protogen.Enum) {
	out.P("\n## ", reasons, "\n")
	out.P(paragraphs(e.Comments), "\n")
	out.P("| reason | gRPC code | meaning |\n|---|---|---|")
	for _, v := range e.Values {
		if v.Desc.Number() == 0 {
			continue
		}
		code, meaning, _ := strings.Cut(cell(v.Comments), ". ")
		reason := strings.TrimPrefix(string(v.Desc.Name()), "ERROR_REASON_")
		out.P("| `", reason, "` | ", code, " | ", meaning, " |")
	}
}

func (c *contract) message(out *protogen.GeneratedFile, m *protogen.Message) {
	out.P("\n### ", name(m.Desc), "\n")
	out.P(paragraphs(m.Comments))
	if len(m.Fields) == 0 {
		return
	}
	out.P("\n| field | no. | type | meaning |\n|---|---|---|---|")
	for _, f := range m.Fields {
		out.P("| `", f.Desc.Name(), "` | ", f.Desc.Number(), " | ", typeOf(f), " | ", meaning(f), " |")
	}
}

// meaning of a field: its comment, the choice that it is part of, and its rules.
func meaning(f *protogen.Field) string {
	text := cell(f.Comments)
	if o := f.Oneof; o != nil && !o.Desc.IsSynthetic() {
		text += fmt.Sprintf(" *One of `%s`%s.*", o.Desc.Name(), rulesOfOneof(o.Desc))
	}
	if rules := rulesOf(f.Desc); rules != "" {
		text += " *Rule: " + rules + ".*"
	}
	return text
}

func (c *contract) enum(out *protogen.GeneratedFile, e *protogen.Enum) {
	out.P("\n### ", name(e.Desc), "\n")
	out.P(paragraphs(e.Comments), "\n")
	out.P("| value | no. | meaning |\n|---|---|---|")
	for _, v := range e.Values {
		out.P("| `", v.Desc.Name(), "` | ", v.Desc.Number(), " | ", cell(v.Comments), " |")
	}
}

// name of something within its package.
func name(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
}

// link to the heading of d, if it is on the page.
func link(d protoreflect.Descriptor) string {
	text := name(d)
	if d.ParentFile().Package() != "holdfast.v1" {
		return "`" + string(d.FullName()) + "`"
	}
	if m, ok := d.(protoreflect.MethodDescriptor); ok {
		text = string(m.Name())
	}
	return fmt.Sprintf("[%s](#%s)", text, strings.ToLower(strings.ReplaceAll(text, ".", "")))
}

func typeOf(f *protogen.Field) string {
	d := f.Desc
	switch {
	case d.IsMap():
		return "map of " + d.MapKey().Kind().String() + " to " + kind(d.MapValue())
	case d.IsList():
		return "list of " + kind(d)
	}
	return kind(d)
}

func kind(d protoreflect.FieldDescriptor) string {
	switch {
	case d.Message() != nil:
		return link(d.Message())
	case d.Enum() != nil:
		return link(d.Enum())
	}
	return d.Kind().String()
}

// marks have a meaning in Markdown that no comment gives them.
var marks = strings.NewReplacer("<", "&lt;", ">", "&gt;", "*", `\*`, "|", `\|`, "[", `\[`, "]", `\]`, "`", "\\`")

// cell is a comment in one line.
func cell(c protogen.CommentSet) string { return strings.Join(strings.Fields(plain(c)), " ") }

// paragraphs is a comment with its empty lines.
func paragraphs(c protogen.CommentSet) string {
	var lines []string
	for line := range strings.SplitSeq(plain(c), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func plain(c protogen.CommentSet) string { return marks.Replace(string(c.Leading)) }
