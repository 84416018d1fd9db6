package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/rpc"
)

func TestExtAuthzIsAsConfigured(t *testing.T) {
	text := whole + `ext_authz:
  enabled: true
  hosts: ["127.0.0.1:10080"]
  trusted_proxies: [{name: gateway.example.com, principals: ["spiffe://example.com/*"]}]
`
	c, warnings, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(text))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("warnings %v, error %v", warnings, err)
	}
	got := c.ExtAuthzRPC()
	if !got.Listed("operator") || got.Listed("gateway.example.com") {
		t.Error("a proxy may speak for those whom callers list, and is not one of them by being a proxy")
	}
	got.Listed = nil
	want := rpc.ExtAuthz{
		APIHosts: []string{"api.atlassian.com"}, Aliases: []string{"127.0.0.1:10080"},
		Proxies: []rpc.TrustedProxy{{Name: "gateway.example.com", Principals: []string{"spiffe://example.com/*"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSenselessExtAuthzIsReported(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"a proxy without principals": {`{enabled: true, trusted_proxies: [{name: a}]}`, "ext_authz.trusted_proxies[0].principals: missing"},
		"a proxy without a name":     {`{enabled: true, trusted_proxies: [{principals: ["*"]}]}`, "ext_authz.trusted_proxies[0].name: missing"},
		"a proxy twice":              {`{enabled: true, trusted_proxies: [{name: a, principals: ["*"]}, {name: a, principals: [b]}]}`, `"a" is listed twice`},
		"a star inside":              {`{enabled: true, trusted_proxies: [{name: a, principals: ["b*c"]}]}`, `"b*c": want a name`},
		"a URL for a host":           {`{enabled: true, hosts: ["http://localhost"]}`, `ext_authz.hosts[0]: "http://localhost"`},
		"a host for all":             {`{enabled: true, hosts: ["*"]}`, `ext_authz.hosts[0]: "*"`},
		"not enabled":                {`{hosts: ["localhost"]}`, "ext_authz: is not served"},
		"a wrong key":                {`{enabeld: true}`, "did you mean enabled?"},
	} {
		t.Run(name, func(t *testing.T) {
			_, warnings, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(whole+"ext_authz: "+row.text+"\n"))
			said := ""
			if err != nil {
				said = err.Error()
			}
			for _, w := range warnings {
				said += w.String()
			}
			if !strings.Contains(said, row.want) {
				t.Errorf("says %q, want %q", said, row.want)
			}
		})
	}
}
