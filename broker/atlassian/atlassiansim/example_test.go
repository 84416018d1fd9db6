package atlassiansim_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/secret"
)

// A test starts the simulator, arms a fault, lets the program under test run
// into it, and asks the ledger what truly happened.
func Example() {
	sim, err := atlassiansim.New(atlassiansim.Config{
		Apps: []atlassiansim.App{{
			ClientID: "my-app", Secrets: []secret.String{secret.New("my-secret")},
			CallbackURL: "http://127.0.0.1:8080/callback", Scopes: []string{"read:jira-work"},
		}},
		AutoConsent: true,
		Faults:      []atlassiansim.Fault{{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(sim)
	defer server.Close()
	defer sim.Close()

	resp, err := http.Post(server.URL+"/oauth/token", "application/x-www-form-urlencoded", strings.NewReader(url.Values{
		"grant_type": {"refresh_token"}, "client_id": {"my-app"}, "client_secret": {"my-secret"}, "refresh_token": {"stale"},
	}.Encode()))
	if err == nil {
		resp.Body.Close()
	}
	fmt.Println("answered:", err == nil)
	fmt.Println("token requests:", sim.Ledger().Posts())
	fmt.Println("late reuses:", len(sim.Ledger().LateReuses()))
	// Output:
	// answered: false
	// token requests: 1
	// late reuses: 0
}
