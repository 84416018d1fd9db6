package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// passing are the reasons that say when to call again, and that a caller may get at
// any time.
var passing = []string{"STORE_UNAVAILABLE", "REFRESH_IN_PROGRESS", "PROVIDER_UNAVAILABLE", "PROVIDER_RATE_LIMITED"}

// judgeErrors: callers saw documented reasons only, and a bare error only of a
// replica that was not there.
func (j *Judge) judgeErrors() {
	wrong := map[string][]string{}
	for _, o := range j.ops {
		if o.Code == "" {
			continue
		}
		j.Reasons[fmt.Sprintf("%s %s", o.Verb, firstOf(o.Reason, o.Code))]++
		if why := j.undocumented(&o); why != "" {
			wrong[why] = append(wrong[why], fmt.Sprintf("replica %d, %s, called at %v, answered at %v: %s %s %s", o.Replica, j.l.Grants[o.Grant], o.Call, o.Return, o.Code, o.Reason, o.Message))
		}
	}
	for _, why := range slices.Sorted(maps.Keys(wrong)) {
		const shown = 5
		list := wrong[why]
		j.find("error: %s, %d times:\n  %s", why, len(list), strings.Join(list[:min(shown, len(list))], "\n  "))
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// undocumented says what is wrong with an error; empty: nothing.
func (j *Judge) undocumented(o *Op) string {
	r, end := j.c.Replicas[o.Replica], min(o.Return, o.Call+CallPatience)
	_, process := r.excuse(o.Call, end, processHeals)
	troubled, _ := r.excuse(o.Call, end, databaseHeals)
	switch {
	case slices.Contains(passing, o.Reason):
		if !o.Retry {
			return o.Reason + " without a time to retry"
		}
	case o.withoutConsent() && j.l.Grants[o.Grant].Revoked:
	case o.Verb == Consent && o.Code != "Internal": // browsers have errors of their own
	case o.Reason == "" && process && (o.Code == "Unavailable" || o.Code == "DeadlineExceeded"):
	case o.Reason == "" && o.Code == "DeadlineExceeded": // the caller's own
		if !troubled {
			return fmt.Sprintf("no answer within %v by a replica without trouble", CallPatience)
		}
	case o.Reason == "":
		return "no reason, by a replica that runs"
	default:
		return "the reason " + o.Reason + ", for which there was no cause"
	}
	return ""
}

// String are the figures.
func (v *Verdict) String() string {
	var reasons []string
	for _, r := range slices.Sorted(maps.Keys(v.Reasons)) {
		reasons = append(reasons, fmt.Sprintf("%s %d", r, v.Reasons[r]))
	}
	return fmt.Sprintf("%d rotations, %d spent tokens sent again, %d attempts announced; %d tokens handed out, %d of them by replicas in trouble; "+
		"%d of %d draws through replicas without trouble were answered; calls that failed: %s",
		v.Rotations, v.Repeats, v.Announced, v.Draws, v.Excused, v.CalmServed, v.Calm, strings.Join(reasons, ", "))
}
