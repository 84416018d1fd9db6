package holdfast

import (
	"google.golang.org/grpc/codes"

	"github.com/holdfast-io/holdfast/internal/unreached"
)

// advice is how a program corrects what is wrong on the way to the broker.
var advice = unreached.Advice{
	NoTLS:       "; WithPlaintext is for a development broker without TLS on this machine",
	DemandsTLS:  "use WithTLSFiles instead of WithPlaintext",
	Certificate: "use WithTLSFiles",
	CA:          "name the file of the CA that did",
	Name:        "connect by a name that it is for",
}

// refused turns the error of a call into an *Error. If no broker answered, its message says
// what is wrong on the way there.
func (c *Client) refused(err error) *Error {
	e := fromStatus(err)
	if e.Reason == Unreachable && e.Code != codes.Canceled && c.way != (unreached.Way{}) {
		e.Message = c.way.Explain(e.Message)
	}
	return e
}
