package atlassiansim

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/secret"
)

func TestConfigReportsAllProblemsAtOnce(t *testing.T) {
	_, err := New(Config{
		Apps: []App{
			{CallbackURL: "/relative", Level: "planet", ServiceAccount: "nobody"},
			{ClientID: "a", Secrets: []secret.String{secret.New("hidden-secret"), {}}, CallbackURL: callback, Scopes: []string{"two scopes"}},
			{ClientID: "a", Secrets: []secret.String{secret.New("x")}, CallbackURL: callback + "#f", Scopes: []string{"s"}},
		},
		Accounts:  []Account{{ID: "x", Sites: []string{"nowhere"}}, {ID: "x"}},
		Sites:     []Site{{CloudID: "a/b", Products: []string{"trello"}}},
		Behaviour: &Behaviour{},
		Faults:    []Fault{{Kind: "sneeze"}},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"apps[0] (): client id is empty", "apps[0] (): secrets: want at least one", `callback URL "/relative"`, `level "planet"`,
		`service account "nobody"`, "apps[0] (): scopes: none given", "apps[1] (a): secrets: want at least one, and none of them empty",
		`scope "two scopes"`, "apps[2] (a): client id given twice", `#f": want an absolute URL without a fragment`,
		`site "nowhere" is none of the sites`, `account id "x" is empty or given twice`, `cloud id "a/b"`, `product "trello"`,
		`reuse ""`, "token_bytes 0", "access_ttl_seconds 0", "expired_access 0", "faults[0]: kind",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q", want)
		}
	}
	if strings.Contains(err.Error(), "hidden-secret") {
		t.Error("the error shows a secret")
	}
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "at least one app") {
		t.Errorf("without apps: %v", err)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := DefaultBehaviour().validate(); err != nil {
		t.Fatal(err)
	}
	sim, err := New(Config{Apps: testConfig().Apps})
	if err != nil || sim.Now().IsZero() || len(sim.cfg.Accounts) == 0 || len(sim.cfg.Sites) == 0 {
		t.Fatalf("New: %v", err)
	}
}
