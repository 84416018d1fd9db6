package holdfast

import (
	"fmt"
	"regexp"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

var (
	grantID = regexp.MustCompile(`^grt_[a-z2-7]{26}$`)
	segment = regexp.MustCompile(`^[A-Za-z0-9@._+-]{1,128}$`)
)

// selector parses a grant's id or address.
func selector(grant string) (*holdfastv1.GrantSelector, error) {
	if grantID.MatchString(grant) {
		return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: grant}}, nil
	}
	parts := strings.Split(grant, "/")
	if len(parts) != 3 && len(parts) != 4 {
		return nil, invalidGrant(grant)
	}
	for _, p := range parts {
		if !segment.MatchString(p) {
			return nil, invalidGrant(grant)
		}
	}
	a := &holdfastv1.GrantAddress{Tenant: parts[0], Subject: parts[1], Product: parts[2]}
	if len(parts) == 4 {
		a.Name = parts[3]
	}
	return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: a}}, nil
}

func invalidGrant(grant string) error {
	return &Error{
		Reason: InvalidRequest, Field: "grant",
		Message: fmt.Sprintf("grant %q: want an id (grt_...) or tenant/subject/product[/name], each 1 to 128 of A-Z a-z 0-9 @ . _ + -", grant),
	}
}
