package identity

import (
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/holdfast-io/holdfast/broker"
)

// Vouched returns who a name is that a trusted proxy found in the certificate of its
// own client: a SPIFFE ID of a trusted domain, or a name that listed knows. A proxy
// can not speak for issuers of tokens: it has seen no token. The identity ends with
// the proxy's own. The error is a *broker.Error.
func (t *Trust) Vouched(name string, listed func(string) bool, proxy broker.Caller) (*Identity, error) {
	id := &Identity{Mapped: true, Caller: broker.Caller{
		Name: name, Kind: broker.CallerProxy, Via: proxy.Name, NotAfter: proxy.NotAfter, RequestID: proxy.RequestID,
	}}
	if t.domains.reserves(name) {
		workload, err := spiffeid.FromString(name)
		if err != nil || workload.Path() == "" || !t.domains.trusted[workload.TrustDomain()] {
			return nil, refused(fmt.Sprintf("the proxy names %q, which is no SPIFFE ID of a workload", name))
		}
		if id.Groups, err = t.domains.groups(workload); err != nil {
			return nil, refused(err.Error())
		}
		return id, nil
	}
	if name == "" || t.reserved(name) || !listed(name) {
		return nil, refused(fmt.Sprintf("the proxy names %q, which is no configured caller; ask an operator to list it under callers", name))
	}
	return id, nil
}
