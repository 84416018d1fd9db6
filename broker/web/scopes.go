package web

import "strings"

// scopeWords is a scope in plain words.
type scopeWords struct {
	Scope string
	// Says is empty where no plain words are known.
	Says string
	// Kind is "reads", "changes" or "stays"; empty where it cannot be told.
	Kind string
}

// The kinds of access, as words that the page shows.
const (
	kindReads   = "reads"
	kindChanges = "changes"
	kindStays   = "stays"
)

// offlineAccess is the scope that yields a refresh token.
const offlineAccess = "offline_access"

// The classic scopes of Jira, Jira Service Management and Confluence, and those
// of the account, in our words (their list: developer.atlassian.com, "Scopes
// for OAuth 2.0 (3LO) apps").
var plainWords = map[string]string{
	offlineAccess: "Keep access while you are away, until you or an operator end it",
	"read:me":     "See your name, e-mail address and picture",
	"openid":      "Know which account you are",
	"profile":     "See your name and picture",
	"email":       "See your e-mail address",

	"read:account":         "See your account's details",
	"report:personal-data": "Report which accounts the app stores data about",

	"read:jira-user":                         "See the people in Jira: names, e-mail addresses, pictures",
	"read:jira-work":                         "Read projects and issues in Jira, with comments, attachments and work logs",
	"write:jira-work":                        "Create and edit issues in Jira, comment and log work as you",
	"manage:jira-project":                    "Change project settings in Jira: components, versions, roles",
	"manage:jira-configuration":              "Change Jira's configuration as an administrator",
	"manage:jira-webhook":                    "Create and delete webhooks in Jira",
	"manage:jira-data-provider":              "Send development and deployment data to Jira",
	"read:servicedesk-request":               "Read customer requests in Jira Service Management",
	"write:servicedesk-request":              "Create and edit customer requests in Jira Service Management",
	"manage:servicedesk-customer":            "Add and remove customers and organisations in Jira Service Management",
	"read:cmdb-object:jira":                  "Read objects in Assets",
	"write:cmdb-object:jira":                 "Create and edit objects in Assets",
	"delete:cmdb-object:jira":                "Delete objects in Assets",
	"readonly:content.attachment:confluence": "Download attachments from Confluence",

	"read:confluence-content.all":        "Read all content in Confluence that you can read",
	"read:confluence-content.summary":    "Read titles and summaries of content in Confluence",
	"read:confluence-content.permission": "See who may do what with content in Confluence",
	"read:confluence-space.summary":      "Read the list of spaces in Confluence",
	"read:confluence-props":              "Read properties of content in Confluence",
	"read:confluence-user":               "See the people in Confluence: names, e-mail addresses, pictures",
	"read:confluence-groups":             "See the groups in Confluence",
	"search:confluence":                  "Search Confluence",
	"write:confluence-content":           "Create and edit pages, blog posts and comments in Confluence as you",
	"write:confluence-space":             "Create and edit spaces in Confluence",
	"write:confluence-file":              "Upload attachments to Confluence",
	"write:confluence-props":             "Change properties of content in Confluence",
	"write:confluence-groups":            "Change groups in Confluence",
	"manage:confluence-configuration":    "Change Confluence's configuration as an administrator",
}

// verbs of the granular scopes, verb:thing:product.
var verbs = map[string]struct{ says, kind string }{
	"read":     {"Read", kindReads},
	"readonly": {"Read", kindReads},
	"search":   {"Search", kindReads},
	"report":   {"Report", kindReads},
	"write":    {"Create and edit", kindChanges},
	"delete":   {"Delete", kindChanges},
	"manage":   {"Administer", kindChanges},
	"admin":    {"Administer", kindChanges},
}

// products as the last part of a granular scope names them.
var products = map[string]string{
	"jira": "Jira", "jira-software": "Jira", "confluence": "Confluence",
	"jira-service-management": "Jira Service Management", "servicedesk": "Jira Service Management",
}

// explainScopes keeps the order, which is the app's.
func explainScopes(scopes []string) []scopeWords {
	out := make([]scopeWords, 0, len(scopes))
	for _, s := range scopes {
		out = append(out, explainScope(s))
	}
	return out
}

func explainScope(scope string) scopeWords {
	w := scopeWords{Scope: scope, Says: plainWords[scope]}
	if scope == offlineAccess {
		w.Kind = kindStays
		return w
	}
	parts := strings.Split(scope, ":")
	verb, known := verbs[parts[0]]
	if known && len(parts) > 1 {
		w.Kind = verb.kind
	}
	if w.Says == "" && known && len(parts) == 3 && products[parts[2]] != "" {
		thing := strings.NewReplacer("-", " ", ".", " ").Replace(parts[1])
		w.Says = verb.says + " " + thing + " in " + products[parts[2]]
	}
	return w
}
