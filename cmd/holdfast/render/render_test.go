package render

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestTablesAlignAndHaveNoControlCharacters(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, []string{"GRANT", "PHASE"}, [][]string{{"acme/a/jira", "active"}, {"a/b/c", "re\x1bvoked"}}); err != nil {
		t.Fatal(err)
	}
	want := "GRANT        PHASE\nacme/a/jira  active\na/b/c        re?voked\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func TestFactsLeaveOutWhatHasNoValue(t *testing.T) {
	var b bytes.Buffer
	if err := Facts(&b, []Fact{{"id", "x"}, {"empty", ""}, {"longer", "y"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("id      x\nlonger  y\n", b.String()); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func TestJSONIsStableAndWhole(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, &holdfastv1.ListGrantsResponse{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("{\n  \"grants\": [],\n  \"nextPageToken\": \"\"\n}\n", b.String()); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func TestDistances(t *testing.T) {
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{
		5 * time.Second: "in 5s", 59 * time.Minute: "in 59m", -3 * time.Hour: "3h ago", 90 * 24 * time.Hour: "in 90d",
	} {
		if got := Until(timestamppb.New(now.Add(d)), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if Until(nil, now) != "" || Time(nil) != "" {
		t.Error("an unset time is shown")
	}
}
