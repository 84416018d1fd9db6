package config

import "time"

// mostRetentionDays is ten years: a longer one is a slip of the finger.
const mostRetentionDays = 3650

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

func (r *Retention) validate(rep *report) {
	for _, f := range []struct {
		path string
		days int
	}{{"retention.lapsed_days", r.LapsedDays}, {"retention.revoked_days", r.RevokedDays}} {
		if !rep.broken(f.path) && (f.days < 0 || f.days > mostRetentionDays) {
			rep.add(f.path, "%d: want 1 to %d days, or leave it out to keep such grants until somebody purges them", f.days, mostRetentionDays)
		}
	}
}
