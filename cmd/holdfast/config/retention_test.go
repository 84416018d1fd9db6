package config

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

func TestARetentionIsDaysOrForEver(t *testing.T) {
	for name, row := range map[string]struct {
		given   Retention
		want    broker.Retention
		problem string
	}{
		"left out":    {Retention{}, broker.Retention{}, ""},
		"one of them": {Retention{LapsedDays: 400}, broker.Retention{Lapsed: 400 * 24 * time.Hour}, ""},
		"both":        {Retention{LapsedDays: 1, RevokedDays: 3650}, broker.Retention{Lapsed: 24 * time.Hour, Revoked: 3650 * 24 * time.Hour}, ""},
		"negative":    {Retention{RevokedDays: -1}, broker.Retention{Revoked: -24 * time.Hour}, "retention.revoked_days"},
		"too long":    {Retention{LapsedDays: 3651}, broker.Retention{Lapsed: 3651 * 24 * time.Hour}, "retention.lapsed_days"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &report{}
			row.given.validate(r)
			text := ""
			for _, p := range r.problems {
				text += p.String() + "\n"
			}
			if (text != "") != (row.problem != "") || !strings.Contains(text, row.problem) {
				t.Errorf("problems %q, want one of %q", text, row.problem)
			}
			if got := row.given.Kept(); got != row.want {
				t.Errorf("kept %+v, want %+v", got, row.want)
			}
		})
	}
}
