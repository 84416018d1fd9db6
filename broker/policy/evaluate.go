package policy

import (
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// verdict is what the evaluation of a view's rules came to.
type verdict struct {
	allow bool
	// rules that decided, in order of loading.
	rules []string
	// failed says of rules that ended with an error what it was.
	failed []string
}

func (v verdict) decision() Decision {
	if len(v.rules) == 0 {
		return Decision{}
	}
	return Decision{Allow: v.allow, Rule: v.rules[0]}
}

// evaluate asks all rules of a view. A rule that fails decides nothing, as Cedar
// has it; a rule that agrees with the schema fails by arithmetic overflow only.
func evaluate(v *view, r Request) verdict {
	w := worldOf(v, &r)
	allow, why := cedar.Authorize(v, w, cedar.Request{
		Principal: w.principal.UID, Action: actionUID(r.Action), Resource: w.resource.UID, Context: asked(&r),
	})
	out := verdict{allow: bool(allow)}
	for _, reason := range why.Reasons {
		out.rules = append(out.rules, string(reason.PolicyID))
	}
	for _, e := range why.Errors {
		out.failed = append(out.failed, string(e.PolicyID)+": "+e.Message)
	}
	return out
}

// world is what the rules can see: who asks, for what, and the actions.
type world struct{ principal, resource types.Entity }

// Get implements types.EntityGetter.
func (w *world) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case w.principal.UID:
		return w.principal, true
	case w.resource.UID:
		return w.resource, true
	}
	e, ok := actionEntities[uid]
	return e, ok
}

// actionEntities put the actions into the group of the schema.
var actionEntities = func() types.EntityMap {
	out := types.EntityMap{adminAction: {UID: adminAction}}
	for _, a := range actions {
		e := types.Entity{UID: actionUID(a)}
		if a != Draw && a != Consent {
			e.Parents = types.NewEntityUIDSet(adminAction)
		}
		out[e.UID] = e
	}
	return out
}()

func worldOf(v *view, r *Request) *world {
	var groups []types.EntityUID
	for _, list := range [][]string{r.Groups, v.groups} {
		for _, g := range list {
			groups = append(groups, types.NewEntityUID(typeGroup, types.String(g)))
		}
	}
	w := &world{principal: types.Entity{
		UID:        types.NewEntityUID(typeCaller, types.String(r.Caller)),
		Parents:    types.NewEntityUIDSet(groups...),
		Attributes: types.NewRecord(types.RecordMap{"name": types.String(r.Caller), "kind": types.String(r.Kind)}),
	}}
	if !about(r) {
		w.resource = types.Entity{UID: theBroker}
		return w
	}
	a := r.Address
	w.resource = types.Entity{
		UID: types.NewEntityUID(typeGrant, types.String(a.String())),
		Parents: types.NewEntityUIDSet(
			types.NewEntityUID(typeTenant, types.String(a.Tenant)), types.NewEntityUID(typeProduct, types.String(a.Product))),
		Attributes: types.NewRecord(types.RecordMap{
			"tenant": types.String(a.Tenant), "subject": types.String(a.Subject),
			"product": types.String(a.Product), "name": types.String(a.Name),
		}),
	}
	return w
}

// asked is the context of a request.
func asked(r *Request) types.Record {
	scopes := make([]types.Value, len(r.Scopes))
	for i, s := range r.Scopes {
		scopes[i] = types.String(s)
	}
	now := r.Now.UTC()
	context := types.RecordMap{
		"scopes": types.NewSet(scopes...), "time": types.NewDatetime(now),
		"hour": types.Long(now.Hour()), "weekday": types.Long(isoWeekday(now)),
	}
	if r.Purpose != "" {
		context["purpose"] = types.String(r.Purpose)
	}
	if r.Site != "" {
		context["site"] = types.String(r.Site)
	}
	return types.NewRecord(context)
}

// isoWeekday counts from 1, Monday, to 7, as ISO 8601 does.
func isoWeekday(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }
