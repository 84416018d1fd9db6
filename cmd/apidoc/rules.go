package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// words say what a rule demands; %v is its value.
var words = map[protoreflect.Name]string{
	"required":     "required",
	"min_len":      "at least %v characters",
	"max_len":      "at most %v characters",
	"min_bytes":    "at least %v bytes",
	"max_bytes":    "at most %v bytes",
	"pattern":      "matches `%v`",
	"gte":          "at least %v",
	"lte":          "at most %v",
	"gt":           "more than %v",
	"lt":           "less than %v",
	"min_items":    "at least %v",
	"max_items":    "at most %v",
	"min_pairs":    "at least %v entries",
	"max_pairs":    "at most %v entries",
	"unique":       "no two alike",
	"defined_only": "one of the known values",
	"not_in":       "not one of %v",
	"in":           "one of %v",
	"const":        "is %v",
}

// unspecified is the rule that demands a choice.
const unspecified = "one of the known values, not one of 0"

// rulesOf are the rules of a field in words, or empty.
func rulesOf(d protoreflect.FieldDescriptor) string {
	if !proto.HasExtension(d.Options(), validate.E_Field) {
		return ""
	}
	rules, ok := proto.GetExtension(d.Options(), validate.E_Field).(*validate.FieldRules)
	if !ok {
		return ""
	}
	text := strings.Join(inWords(rules.ProtoReflect()), ", ")
	text = strings.Replace(text, unspecified, "one of the known values but the unspecified", 1)
	if rules.GetIgnore() == validate.Ignore_IGNORE_IF_ZERO_VALUE {
		text = "empty, or " + text
	}
	return text
}

func rulesOfOneof(d protoreflect.OneofDescriptor) string {
	if rules, ok := proto.GetExtension(d.Options(), validate.E_Oneof).(*validate.OneofRules); ok && rules.GetRequired() {
		return ", one is required"
	}
	return ""
}

// inWords walks through the set rules in the order of their numbers. One that has no
// words here stands as it is in the proto, so that none is left out.
func inWords(m protoreflect.Message) []string {
	var out []string
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) || f.Name() == "ignore" {
			continue
		}
		v := m.Get(f)
		switch form, known := words[f.Name()]; {
		case f.Name() == "cel":
			out = append(out, expressions(v.List())...)
		case f.Name() == "items":
			out = append(out, "each "+strings.Join(inWords(v.Message()), ", "))
		case f.Message() != nil && !f.IsList() && nested(v.Message()):
			out = append(out, inWords(v.Message())...)
		case known && strings.Contains(form, "%v"):
			out = append(out, fmt.Sprintf(form, value(f, v)))
		case known:
			out = append(out, form)
		default:
			out = append(out, fmt.Sprintf("`%s = %v`", f.Name(), value(f, v)))
		}
	}
	// The least before the most, as people say it.
	slices.SortStableFunc(out, func(a, b string) int { return bound(a) - bound(b) })
	return out
}

// expressions are the rules that are written out, by what they say to people.
func expressions(all protoreflect.List) []string {
	var out []string
	for i := range all.Len() {
		if rule, ok := all.Get(i).Message().Interface().(*validate.Rule); ok {
			out = append(out, cmp.Or(rule.GetMessage(), "`"+rule.GetExpression()+"`"))
		}
	}
	return out
}

func bound(text string) int {
	if strings.HasPrefix(text, "at most") || strings.HasPrefix(text, "less than") {
		return 1
	}
	return 0
}

// nested reports whether m holds rules, rather than being the value of one.
func nested(m protoreflect.Message) bool {
	switch m.Interface().(type) {
	case *durationpb.Duration, *timestamppb.Timestamp:
		return false
	}
	return true
}

func value(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.IsList() {
		var all []string
		for i := range v.List().Len() {
			all = append(all, v.List().Get(i).String())
		}
		return strings.Join(all, ", ")
	}
	text := v.String()
	if f.Message() != nil {
		switch m := v.Message().Interface().(type) {
		case *durationpb.Duration:
			text = m.AsDuration().String()
		case *timestamppb.Timestamp:
			text = m.AsTime().String()
		}
	}
	return strings.ReplaceAll(text, "|", `\|`)
}
