package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

// request has the fields of all operations.
type request struct {
	ID     int64  `json:"id"`
	Op     string `json:"op"`
	Client string `json:"client"`
	Source string `json:"source"`

	Target    string `json:"target"`
	Cert      string `json:"cert"`
	Key       string `json:"key"`
	CA        string `json:"ca"`
	TokenFile string `json:"token_file"`
	Plaintext bool   `json:"plaintext"`
	TimeoutMS int64  `json:"timeout_ms"`

	Grant    string   `json:"grant"`
	Site     string   `json:"site"`
	Scopes   []string `json:"scopes"`
	Purpose  string   `json:"purpose"`
	MinTTLMS int64    `json:"min_ttl_ms"`
	Watch    bool     `json:"watch"`

	Count      int   `json:"count"`
	DeadlineMS int64 `json:"deadline_ms"`

	Method     string   `json:"method"`
	URL        string   `json:"url"`
	Body       string   `json:"body"`
	Repeatable bool     `json:"repeatable"`
	Origins    []string `json:"origins"`

	SkewMS int64 `json:"skew_ms"`
}

// answer has the fields of all answers.
type answer struct {
	ID        int64       `json:"id"`
	Token     *tokenMade  `json:"token,omitempty"`
	Distinct  int         `json:"distinct,omitempty"`
	Status    int         `json:"status,omitempty"`
	Body      string      `json:"body,omitempty"`
	Leaked    int         `json:"leaked"`
	Error     *errorShown `json:"error,omitempty"`
	Failed    int         `json:"failed,omitempty"`
	ElapsedMS int64       `json:"elapsed_ms"`
}

type tokenMade struct {
	AccessToken string `json:"access_token"`
	Generation  uint64 `json:"generation"`
	APIBaseURL  string `json:"api_base_url"`
}

type errorShown struct {
	Reason       string   `json:"reason"`
	Code         string   `json:"code,omitempty"`
	Message      string   `json:"message"`
	Link         string   `json:"link,omitempty"`
	Why          string   `json:"why,omitempty"`
	Sites        []string `json:"sites,omitempty"`
	Missing      []string `json:"missing,omitempty"`
	Field        string   `json:"field,omitempty"`
	RetryAfterMS int64    `json:"retry_after_ms,omitempty"`
	RequestID    string   `json:"request_id,omitempty"`
}

// shown turns what the client failed with into the protocol's words.
func shown(err error) *errorShown {
	e := &errorShown{Reason: "BUG", Message: err.Error()}
	of, ok := errors.AsType[*holdfast.Error](err)
	switch {
	case errors.Is(err, holdfast.ErrClosed):
		e.Reason = "CLOSED"
	case !ok && errors.Is(err, context.DeadlineExceeded):
		e.Reason = "DEADLINE_EXCEEDED"
	case !ok:
	default:
		e.Reason, e.Link, e.Why, e.Missing = string(of.Reason), of.Link, of.Why, of.Missing
		e.Field, e.RequestID = of.Field, of.RequestID
		e.RetryAfterMS = int64(of.RetryAfter / time.Millisecond)
		if of.Code != codes.OK {
			e.Code = codeName(of.Code)
		}
		if of.Sites != "" {
			e.Sites = []string{of.Sites}
		}
		if of.Reason == holdfast.Unreachable {
			e.Reason = "UNAVAILABLE"
		}
	}
	return e
}

// codeName is the name as in the contract: FailedPrecondition is FAILED_PRECONDITION.
func codeName(c codes.Code) string {
	var b strings.Builder
	for i, r := range c.String() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}
