package thirdparty

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/ctreminiom/go-atlassian/v2/confluence"
	confluencev2 "github.com/ctreminiom/go-atlassian/v2/confluence/v2"
	jirav3 "github.com/ctreminiom/go-atlassian/v2/jira/v3"
	"github.com/ctreminiom/go-atlassian/v2/pkg/infra/models"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
)

// go-atlassian takes an HTTP client for each product; each product has a grant.
func Example_goAtlassian() {
	client, err := holdfast.Dial(dev.Addr, holdfast.WithTLSFiles(dev.Cert, dev.Key, dev.CA))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	ctx := context.Background()
	through := func(grant string) *http.Client {
		return &http.Client{Transport: &holdfast.Transport{Source: client.TokenSource(ctx, grant), Relative: true}}
	}

	jira, err := jirav3.New(through("acme/automation/jira"), "/")
	if err != nil {
		fmt.Println(err)
		return
	}
	wiki, err := confluencev2.New(through("acme/automation/confluence"), "/")
	if err != nil {
		fmt.Println(err)
		return
	}
	me, _, err := jira.MySelf.Details(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	page, _, err := wiki.Page.Get(ctx, 2000001, "storage", false, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(me.DisplayName, "reads", page.Title)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// Output: Acme Automation reads DOC page 1
}

func TestGoAtlassianReadsJira(t *testing.T) {
	client, err := jirav3.New(dev.open(t, jiraGrant).http, "/")
	if err != nil {
		t.Fatal(err)
	}
	issue, _, err := client.Issue.Get(t.Context(), "WEB-3", nil, nil)
	if err != nil || issue.Key != "WEB-3" || issue.Fields.Description.Type != "doc" {
		t.Errorf("issue %v, %v", issue, err)
	}
	projects, _, err := client.Project.Search(t.Context(), nil, 0, 10)
	if err != nil || projects.Total != 2 || len(projects.Values) != 2 {
		t.Errorf("projects %v, %v", projects, err)
	}
}

func TestGoAtlassianDoesNotNoticeATokenThatEndsBetweenPages(t *testing.T) {
	t.Run("issues by startAt", func(t *testing.T) {
		midway(t, jiraGrant, 25, func(a api, turned func()) (got int, err error) {
			client, err := jirav3.New(a.http, "/")
			for err == nil {
				var page *models.IssueSearchScheme
				if page, _, err = client.Issue.Search.Get(t.Context(), "project = OPS", nil, nil, got, 5, ""); err != nil { //nolint:staticcheck // deprecated, and in use
					break
				}
				got += len(page.Issues)
				if turned(); got >= page.Total {
					break
				}
			}
			return got, err
		})
	})
	// By POST: a body is sent a second time.
	t.Run("issues by nextPageToken", func(t *testing.T) {
		midway(t, jiraGrant, 25, func(a api, turned func()) (got int, err error) {
			client, err := jirav3.New(a.http, "/")
			for next := ""; err == nil; {
				var page *models.IssueSearchJQLScheme
				if page, _, err = client.Issue.Search.SearchJQL(t.Context(), "project = OPS", nil, nil, 5, next); err != nil {
					break
				}
				got += len(page.Issues)
				turned()
				if next = page.NextPageToken; next == "" {
					break
				}
			}
			return got, err
		})
	})
	t.Run("pages of the older API", func(t *testing.T) {
		midway(t, confluenceGrant, 25, func(a api, turned func()) (got int, err error) {
			client, err := confluence.New(a.http, "/")
			for err == nil {
				var page *models.ContentPageScheme
				if page, _, err = client.Content.Gets(t.Context(), &models.GetContentOptionsScheme{SpaceKey: "DOC"}, got, 5); err != nil {
					break
				}
				got += len(page.Results)
				if turned(); page.Links.Next == "" {
					break
				}
			}
			return got, err
		})
	})
	t.Run("pages of the newer API", func(t *testing.T) {
		midway(t, confluenceGrant, 25, func(a api, turned func()) (got int, err error) {
			client, err := confluencev2.New(a.http, "/")
			for cursor := ""; err == nil; {
				var page *models.PageChunkScheme
				if page, _, err = client.Page.GetsBySpace(t.Context(), 20000, cursor, 5); err != nil {
					break
				}
				got += len(page.Results)
				turned()
				var next *url.URL
				if next, err = url.Parse(page.Links.Next); err != nil || page.Links.Next == "" {
					break
				}
				cursor = next.Query().Get("cursor")
			}
			return got, err
		})
	})
}
