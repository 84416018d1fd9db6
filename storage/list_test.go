package storage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

func TestGrantsAreFilteredAndPaged(t *testing.T) {
	s := newTampered(t)
	phases := []family.Phase{family.Active, family.Lapsed, family.Revoked}
	var all []storage.Grant
	for i := range 30 {
		g := fullGrant(t, fmt.Sprintf("tenant%d/user%d/%s", i%2, i, []string{"jira", "confluence"}[i%2]))
		g.State.Phase, g.App, g.Account = phases[i%3], fmt.Sprint("app", i%5), fmt.Sprint("account", i%4)
		if g.Due = at.Add(time.Duration(i) * time.Minute); i%6 == 0 {
			g.Due = time.Time{}
		}
		all = append(all, s.put(g))
	}
	slices.SortFunc(all, func(a, b storage.Grant) int { return cmpText(a.ID, b.ID) })
	for _, row := range []struct {
		name   string
		filter storage.Filter
		match  func(storage.Grant) bool
	}{
		{"all", storage.Filter{}, func(storage.Grant) bool { return true }},
		{"tenant", storage.Filter{Tenant: "tenant1"}, func(g storage.Grant) bool { return g.Address.Tenant == "tenant1" }},
		{"product", storage.Filter{Product: "jira"}, func(g storage.Grant) bool { return g.Address.Product == "jira" }},
		{"phase", storage.Filter{Phase: family.Lapsed}, func(g storage.Grant) bool { return g.State.Phase == family.Lapsed }},
		{"app and account", storage.Filter{App: "app1", Account: "account1"}, func(g storage.Grant) bool { return g.App == "app1" && g.Account == "account1" }},
		{"nobody", storage.Filter{Tenant: "tenant"}, func(storage.Grant) bool { return false }},
		{"due", storage.Filter{DueBefore: at.Add(10 * time.Minute)}, func(g storage.Grant) bool {
			return !g.Due.IsZero() && g.Due.Before(at.Add(10*time.Minute))
		}},
		{"due in a phase", storage.Filter{DueBefore: at.Add(time.Hour), Phase: family.Active}, func(g storage.Grant) bool {
			return !g.Due.IsZero() && g.State.Phase == family.Active
		}},
	} {
		var want []string
		byDue := slices.Clone(all)
		if !row.filter.DueBefore.IsZero() {
			slices.SortStableFunc(byDue, func(a, b storage.Grant) int { return a.Due.Compare(b.Due) })
		}
		for _, g := range byDue {
			if row.match(g) {
				want = append(want, g.ID)
			}
		}
		for _, limit := range []int{0, 1, 3, 1000} {
			row.filter.Limit, row.filter.After = limit, ""
			if d := cmp.Diff(want, pages(t, s.Store, row.filter)); d != "" {
				t.Errorf("%s in pages of %d (-want +got):\n%s", row.name, limit, d)
			}
		}
	}
}

func cmpText(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func pages(t *testing.T, s *storage.Store, f storage.Filter) []string {
	t.Helper()
	var ids []string
	for {
		page, err := s.Grants(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page {
			ids = append(ids, g.ID)
		}
		if len(page) == 0 || len(page) < f.Limit || f.Limit == 0 {
			return ids
		}
		f.After = page[len(page)-1].ID
	}
}

func TestExpiredConsentsArePurged(t *testing.T) {
	s := newTampered(t)
	for i := range 5 {
		c := storage.Consent{ID: fmt.Sprint("con_", i), Status: storage.ConsentPending, ExpiresAt: at.Add(time.Duration(i) * time.Minute)}
		if err := s.Swap(t.Context(), storage.Update{Consent: &c}); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.PurgeConsents(t.Context(), at.Add(2*time.Minute))
	if err != nil || n != 2 {
		t.Errorf("%d purged, error %v; want 2", n, err)
	}
	for i := range 5 {
		if _, err := s.Consent(t.Context(), fmt.Sprint("con_", i)); (err == nil) != (i >= 2) {
			t.Errorf("consent %d: %v", i, err)
		}
	}
}
