package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestAStormAtThreeReplicasSpendsEachTokenOnce is a small version of the suite, with
// real processes of the product on a real PostgreSQL. It asserts no time.
func TestAStormAtThreeReplicasSpendsEachTokenOnce(t *testing.T) {
	var log bytes.Buffer
	o := stormFlags{grants: 40, callers: 5, replicas: 3, store: "postgres", dir: t.TempDir()}
	r, err := storm(t.Context(), o, &sharedWriter{w: &log})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if err := r.verdict(o); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if want := o.grants * o.callers * o.replicas; r.answered != want {
		t.Errorf("%d calls were answered, want %d", r.answered, want)
	}
}

func TestTheVerdictOnAStorm(t *testing.T) {
	o := stormFlags{grants: 10}
	for _, c := range []struct {
		r    stormResult
		want string
	}{
		{stormResult{posts: 10, answered: 100}, ""},
		{stormResult{posts: 11}, "11 POSTs for 10"},
		{stormResult{posts: 9}, "9 POSTs for 10"},
		{stormResult{posts: 10, twice: 1}, "1 of them with a token that had been sent"},
		{stormResult{posts: 10, failed: 2, first: errors.New("gone")}, "2 calls were not answered"},
		{stormResult{posts: 10, wrong: 1}, "another token"},
	} {
		err := c.r.verdict(o)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.r, err, c.want)
		}
	}
}
