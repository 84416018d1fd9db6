package atlassian

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/holdfast-io/holdfast/broker/family"
)

// ErrorClass is the class that a profile may give to a listed error.
type ErrorClass string

// The classes of listed errors.
const (
	// ErrorRefused: the token itself is not accepted.
	ErrorRefused ErrorClass = "refused"
	// ErrorMisconfigured: the app is at fault, no family is.
	ErrorMisconfigured ErrorClass = "misconfigured"
	// ErrorTransient: later; the token was not spent.
	ErrorTransient ErrorClass = "transient"
)

func (c ErrorClass) family() family.Class {
	switch c {
	case ErrorRefused:
		return family.Refused
	case ErrorMisconfigured:
		return family.Misconfigured
	case ErrorTransient:
		return family.Transient
	}
	return family.InDoubt // not reached: Validate has seen the row
}

// classify says what r means for the token that was sent. Whatever is not
// known for certain is in doubt.
func (p *Provider) classify(grantType string, r reply) family.Outcome {
	switch {
	case r.refused:
		return family.Outcome{Class: family.NotSpent, Code: "guard"}
	case !r.written:
		return family.Outcome{Class: family.NotSpent, Code: r.failure}
	case r.status >= 200 && r.status <= 299:
		return p.classifySuccess(grantType, r)
	}
	wait := parseRetryAfter(r.header.Get("Retry-After"), p.now())
	// Half an error says nothing for certain.
	if row, ok := p.listed(grantType, r); ok && r.failure == "" {
		return family.Outcome{Class: row.Class.family(), Code: row.Code, RetryAfter: wait}
	}
	return family.Outcome{Class: family.InDoubt, Code: doubtWord(r), RetryAfter: wait}
}

func (p *Provider) classifySuccess(grantType string, r reply) family.Outcome {
	pair, word := parsePair(r.body, p.profile.AssumedLife)
	usable := !pair.Access.Empty()
	missing := usable && pair.Refresh.Empty() && grantType == grantRefresh && !p.profile.AllowMissingRefresh
	switch {
	case usable && !missing:
		return family.Outcome{Class: family.Settled, Pair: pair, Code: word}
	case r.failure != "":
		word = r.failure
	case missing:
		word = "no_refresh_token"
	}
	return family.Outcome{Class: family.InDoubt, Code: word}
}

func doubtWord(r reply) string {
	if r.status != 0 {
		return httpWord(r.status)
	}
	return r.failure
}

// listed returns the first row of the profile's table that matches r.
func (p *Provider) listed(grantType string, r reply) (ErrorRow, bool) {
	if r.status < 400 || r.status > 499 {
		return ErrorRow{}, false
	}
	code, description := parseError(r.body)
	for _, row := range p.profile.Errors {
		if row.matches(grantType, r.status, code, description) {
			return row, true
		}
	}
	return ErrorRow{}, false
}

func (row ErrorRow) matches(grantType string, status int, code, description string) bool {
	return (row.Status == 0 || row.Status == status) &&
		(row.GrantType == "" || row.GrantType == grantType) &&
		(row.Error == "" || row.Error == code) &&
		(row.DescriptionContains == "" || strings.Contains(description, row.DescriptionContains))
}

// parseError returns error and lower-cased error_description of an OAuth error
// (RFC 6749 section 5.2); both are empty for any other body.
func parseError(body []byte) (code, description string) {
	fields, ok := parseObject(body)
	if !ok {
		return "", ""
	}
	code, _ = text(fields["error"])
	if code == "" {
		return "", "" // not an OAuth error, whatever else it says
	}
	description, _ = text(fields["error_description"])
	return code, strings.ToLower(description)
}

// parseObject decodes one JSON object by exact field names (encoding/json's
// structs would also take "Refresh_Token"). ok is false for anything else.
func parseObject(body []byte) (fields map[string]json.RawMessage, ok bool) {
	err := json.Unmarshal(body, &fields)
	return fields, err == nil && fields != nil
}

// text returns a JSON string of a parsed object; an absent field and null are the
// empty string.
func text(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 {
		return "", true
	}
	if last := len(raw) - 1; last > 0 && raw[0] == '"' && isToken(raw[1:last]) && !bytes.ContainsRune(raw, '\\') {
		return string(raw[1:last]), true // as every token is: it stands for itself
	}
	return s, json.Unmarshal(raw, &s) == nil
}
