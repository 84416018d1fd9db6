package thirdparty

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/andygrunwald/go-jira"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

// go-jira takes an HTTP client; the broker knows where the site's API is.
func Example_goJira() {
	client, err := holdfast.Dial(dev.Addr, holdfast.WithTLSFiles(dev.Cert, dev.Key, dev.CA))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	source := client.TokenSource(context.Background(), "acme/automation/jira")

	jiraClient, err := jira.NewClient(&http.Client{Transport: &holdfast.Transport{Source: source, Relative: true}}, "/")
	if err != nil {
		fmt.Println(err)
		return
	}
	me, _, err := jiraClient.User.GetSelf()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(me.DisplayName)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// Output: Acme Automation
}

func goJira(t *testing.T, a api, base string) *jira.Client {
	t.Helper()
	client, err := jira.NewClient(a.http, base)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestGoJiraReads(t *testing.T) {
	a := dev.open(t, jiraGrant)
	absolute, err := a.source.APIBase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{"/", absolute} {
		client := goJira(t, a, base)
		issue, _, err := client.Issue.GetWithContext(t.Context(), "OPS-7", nil)
		if err != nil || issue.Key != "OPS-7" || issue.Fields.Summary == "" || issue.Fields.Project.Key != "OPS" {
			t.Errorf("issue below %s: %v, %v", base, issue, err)
		}
		projects, _, err := client.Project.GetListWithContext(t.Context())
		if err != nil || len(*projects) != 2 {
			t.Errorf("projects below %s: %v, %v", base, projects, err)
		}
	}
}

func TestGoJiraDoesNotNoticeATokenThatEndsBetweenPages(t *testing.T) {
	t.Run("startAt", func(t *testing.T) {
		midway(t, jiraGrant, 25, func(a api, turned func()) (got int, err error) {
			options := &jira.SearchOptions{MaxResults: 5}
			err = goJira(t, a, "/").Issue.SearchPagesWithContext(t.Context(), "project = OPS", options, func(jira.Issue) error {
				if got++; got%5 == 0 {
					turned()
				}
				return nil
			})
			return got, err
		})
	})
	t.Run("nextPageToken", func(t *testing.T) {
		midway(t, jiraGrant, 25, func(a api, turned func()) (got int, err error) {
			client := goJira(t, a, "/")
			options := &jira.SearchOptionsV2{MaxResults: 5}
			for {
				issues, resp, err := client.Issue.SearchV2JQLWithContext(t.Context(), "project = OPS", options)
				if err != nil {
					return got, err
				}
				got += len(issues)
				turned()
				if options.NextPageToken = resp.NextPageToken; resp.IsLast {
					return got, nil
				}
			}
		})
	})
}
