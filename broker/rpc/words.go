package rpc

import "buf.build/go/protovalidate"

// patternWords are the contract's patterns in words: who reads a refusal wants to correct
// the request, and not to read a regular expression first.
var patternWords = map[string]string{
	`^[A-Za-z0-9@._+-]{1,128}$`: "want 1 to 128 of A-Z a-z 0-9 @ . _ + -",
	`^[a-z0-9._-]{1,64}$`:       "want 1 to 64 of a-z 0-9 . _ -",
	`^[!#-\[\]-~]{1,128}$`:      `want 1 to 128 printable ASCII characters, no space, " or \ among them`,
	`^[A-Za-z0-9._-]{1,256}$`:   "want 1 to 256 of A-Z a-z 0-9 . _ -",
	`^[a-z0-9:_-]{8,128}$`:      "want 8 to 128 of a-z 0-9 : _ -",
	`^grt_[a-z2-7]{26}$`:        "want grt_ and 26 of a-z 2-7",
}

// described says how a field breaks its rule; never the field's value.
func described(v *protovalidate.Violation) string {
	if v.Proto.GetRuleId() == "string.pattern" && v.RuleValue.IsValid() {
		if words, ok := patternWords[v.RuleValue.String()]; ok {
			return words
		}
	}
	return v.Proto.GetMessage()
}
