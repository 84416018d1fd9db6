package audit

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Ids that nothing has are as different as grants are: who tries many of them
// is recorded with each, up to the bound that grants have.
func TestRefusalsOfUnknownIDsAreCountedByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		c := testConfig(path)
		c.Now = time.Now
		l := mustOpen(t, c)
		refuse := func(caller, grant, id string) {
			mustWrite(t, l, &Record{Time: time.Now(), Caller: caller, Method: "M", Grant: grant, GrantID: id, Outcome: "GRANT_NOT_FOUND", Refusal: true})
		}
		for n := range 3 {
			for range 10 {
				refuse("a", "", fmt.Sprint("grt_", n))
			}
		}
		for n := range 50 {
			refuse("b", "", fmt.Sprint("grt_", n))
		}
		for n := range 10 { // one grant, whatever its id
			refuse("c", "acme/a/jira", fmt.Sprint("grt_", n))
		}
		if got := len(lines(t, path)); got != 3+floodGrants+1+1 {
			t.Fatalf("%d records at once, want the first of each id, of the rest and of the grant", got)
		}
		<-time.After(DefaultFloodWindow)
		synctest.Wait()
		counts := map[string]float64{}
		for _, m := range lines(t, path) {
			if n, ok := m["count"].(float64); ok {
				counts[fmt.Sprint(m["caller"], " ", m["grant"], " ", m["grant_id"])] += n
			}
		}
		want := map[string]float64{"a <nil> grt_0": 9, "a <nil> grt_1": 9, "a <nil> grt_2": 9, "b <nil> <nil>": 50 - floodGrants - 1, "c acme/a/jira grt_9": 9}
		if fmt.Sprint(counts) != fmt.Sprint(want) {
			t.Fatalf("counted %v, want %v", counts, want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if len(l.flood.byKey)+len(l.flood.grants) > 0 {
			t.Errorf("counts are left: %v, %v", l.flood.byKey, l.flood.grants)
		}
	})
}
