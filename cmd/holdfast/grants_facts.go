package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// deadlineFact shows a deadline with where its limit is known from.
func deadlineFact(at *timestamppb.Timestamp, source holdfastv1.DeadlineSource) string {
	text := render.Time(at)
	if text != "" && source != holdfastv1.DeadlineSource_DEADLINE_SOURCE_UNSPECIFIED {
		text += " (" + render.Enum(source, "DEADLINE_SOURCE_") + ")"
	}
	return text
}

// nextEnd shows in a listing when the provider ends the family at the latest if
// nobody does anything: the earlier of both deadlines.
func nextEnd(g *holdfastv1.Grant) string {
	at, source := g.GetIdleDeadline(), g.GetIdleDeadlineSource()
	if abs := g.GetAbsoluteDeadline(); at == nil || abs != nil && abs.AsTime().Before(at.AsTime()) {
		at, source = abs, g.GetAbsoluteDeadlineSource()
	}
	if !at.IsValid() {
		return ""
	}
	text := at.AsTime().Local().Format("2006-01-02")
	if source == holdfastv1.DeadlineSource_DEADLINE_SOURCE_OBSERVED {
		text += " (observed)"
	}
	return text
}

// relatedFacts names the grants that may share this one's fate at the provider.
func relatedFacts(ids []string) []render.Fact {
	const shown = 5
	if len(ids) == 0 {
		return nil
	}
	text := strings.Join(ids[:min(len(ids), shown)], " ")
	if more := len(ids) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return []render.Fact{
		{Name: "related", Value: text},
		{Name: "", Value: "same app and account: at the provider they may end one another; an app per product keeps them apart"},
	}
}

// causes words the causes of an unexplained refusal for people.
var causes = map[string]string{
	"revoked_by_person": "the person revoked the app",
	"app_uninstalled":   "an admin uninstalled the app from a site",
	"password_changed":  "the account's password was changed",
	"deactivated":       "the account was deactivated",
	"idle_limit":        "it was unused for too long",
	"absolute_limit":    "it was too old",
	"scopes_overridden": "another consent of the account replaced it",
	"token_cap":         "the account has too many tokens",
	"foreign_use":       "somebody else used the token",
}

// eventDetail words an event's fixed words for people, with what to do.
func eventDetail(e *holdfastv1.GrantEvent) string {
	detail := e.GetDetail()
	switch e.GetType() {
	case holdfastv1.GrantEventType_GRANT_EVENT_TYPE_UNEXPLAINED_REFUSAL:
		words := strings.Fields(detail)
		for i, w := range words {
			if text, known := causes[w]; known {
				words[i] = text
			}
		}
		return "possible: " + strings.Join(words, "; ")
	case holdfastv1.GrantEventType_GRANT_EVENT_TYPE_FOREIGN_USE:
		return "SECURITY: somebody else has used the refresh token; rotate the client secret, end the app's grants, find who holds the token"
	case holdfastv1.GrantEventType_GRANT_EVENT_TYPE_INTERFERENCE:
		return detail + "; give each product an app of its own"
	}
	return detail
}
