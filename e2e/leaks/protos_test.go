package leaks

import (
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/holdfast-io/holdfast/storage" // the descriptors of its records are walked
)

// secretField is what fields that carry a secret are called, in the contract and
// in the store's records.
var secretField = regexp.MustCompile(`(^|_)((access|refresh|id)_token|secret|verifier|code|cookie|state|password|kek|dek|key)$|^(token|url|link)$`)

// harmless are fields with such a name that carry none.
var harmless = map[protoreflect.FullName]string{
	"holdfast.v1.Site.url":                     "the address of a site",
	"holdfast.storage.v1.Site.url":             "the address of a site",
	"holdfast.storage.v1.Suspicion.code":       "the name of an error",
	"holdfast.v1.BatchError.MetadataEntry.key": "the name of a fact about an error",
}

// What prints messages in other languages honours debug_redact; Go does not, which
// is why nothing here may log one, and the scanner looks at what was logged.
func TestEveryFieldThatCarriesASecretIsMarked(t *testing.T) {
	fields, marked := 0, 0
	var walk func(messages protoreflect.MessageDescriptors)
	walk = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			m := messages.Get(i)
			walk(m.Messages())
			for j := range m.Fields().Len() {
				f := m.Fields().Get(j)
				if f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind {
					continue
				}
				fields++
				redact := f.Options().(*descriptorpb.FieldOptions).GetDebugRedact()
				if redact {
					marked++
				}
				if _, ok := harmless[f.FullName()]; !ok && !redact && secretField.MatchString(string(f.Name())) {
					t.Errorf("%s carries a secret by its name, and has no debug_redact; mark it, or say in harmless why not", f.FullName())
				}
				if carriers[f.FullName()] != "" && !redact {
					t.Errorf("%s carries a %s and has no debug_redact", f.FullName(), carriers[f.FullName()])
				}
			}
		}
	}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(file.Package()), "holdfast.") {
			walk(file.Messages())
		}
		return true
	})
	if fields < 100 || marked < len(carriers) {
		t.Errorf("%d fields with %d marks were found; the contract has more", fields, marked)
	}
}
