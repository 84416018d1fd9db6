package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestAGrantIsShownWithItsDeadlinesRelationsAndWhatToDo(t *testing.T) {
	at := func(day int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2026, 5, day, 12, 0, 0, 0, time.Local))
	}
	g := &holdfastv1.Grant{
		Address:      &holdfastv1.GrantAddress{Tenant: "acme", Subject: "bot", Product: "jira", Name: "default"},
		IdleDeadline: at(9), IdleDeadlineSource: holdfastv1.DeadlineSource_DEADLINE_SOURCE_OBSERVED,
		AbsoluteDeadline: at(20), AbsoluteDeadlineSource: holdfastv1.DeadlineSource_DEADLINE_SOURCE_DOCUMENTED,
		RelatedGrantIds: []string{"grt_1", "grt_2", "grt_3", "grt_4", "grt_5", "grt_6", "grt_7"},
	}
	events := []*holdfastv1.GrantEvent{
		{Type: holdfastv1.GrantEventType_GRANT_EVENT_TYPE_UNEXPLAINED_REFUSAL, Detail: "password_changed foreign_use something_newer"},
		{Type: holdfastv1.GrantEventType_GRANT_EVENT_TYPE_FOREIGN_USE, Detail: "access_token_died_early"},
		{Type: holdfastv1.GrantEventType_GRANT_EVENT_TYPE_INTERFERENCE, Detail: "lapsed after consent of grt_1"},
		{Type: holdfastv1.GrantEventType_GRANT_EVENT_TYPE_DEADLINE_NEAR, Detail: "idle 7d observed"},
	}
	var out bytes.Buffer
	c := &call{io: streams{out: &out}}
	if err := c.showGrant(&holdfastv1.GetGrantResponse{Grant: g, Events: events}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2026-05-09 12:00:00", "(observed)", "2026-05-20 12:00:00", "(documented)",
		"grt_1 grt_2 grt_3 grt_4 grt_5 and 2 more", "an app per product keeps them apart",
		"possible: the account's password was changed; somebody else used the token; something_newer",
		"SECURITY: somebody else has used the refresh token; rotate the client secret", "lapsed after consent of grt_1; give each product an app of its own", "idle 7d observed",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if got := nextEnd(g); got != "2026-05-09 (observed)" {
		t.Errorf("in a listing: %q", got)
	}
	if got := nextEnd(&holdfastv1.Grant{AbsoluteDeadline: at(20)}); got != "2026-05-20" {
		t.Errorf("without an idle limit: %q", got)
	}
	if got := nextEnd(&holdfastv1.Grant{}); got != "" || len(relatedFacts(nil)) != 0 {
		t.Errorf("without any: %q", got)
	}
}
