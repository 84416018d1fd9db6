package node

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// act is what an rpc needs; the zero value: any caller that the broker knows.
type act struct {
	action  policy.Action
	request proto.Message
	answer  proto.Message
	// anyAction: a listing of what one may draw from is open to who may do anything.
	anyAction bool
	// hidden: who is refused gets the answer of what does not exist.
	hidden bool
}

// acts has a row for each rpc. Where one takes a grant, there is none: who is
// let in finds that out, who is not does not.
func acts() map[string]act {
	a := &holdfastv1.GrantAddress{Tenant: "acme", Subject: "bot", Product: "jira"}
	g := &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: a}}
	known := act{answer: &healthpb.HealthCheckResponse{}, request: &healthpb.HealthCheckRequest{}}
	return map[string]act{
		"TokenService/GetAccessToken": {policy.Draw, &holdfastv1.GetAccessTokenRequest{Grant: g}, &holdfastv1.GetAccessTokenResponse{}, false, false},
		// Of a grant that is not there a watch ends as a call does, without a message.
		"TokenService/WatchAccessToken": {policy.Draw, &holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{Grant: g}},
			&holdfastv1.WatchAccessTokenResponse{}, false, false},
		"TokenService/ReportRejectedToken": {policy.Draw, &holdfastv1.ReportRejectedTokenRequest{Grant: g, Generation: 1, HttpStatus: 401}, &holdfastv1.ReportRejectedTokenResponse{}, false, false},
		"TokenService/BatchGetAccessTokens": {policy.Draw, &holdfastv1.BatchGetAccessTokensRequest{Requests: []*holdfastv1.GetAccessTokenRequest{{Grant: g}}},
			&holdfastv1.BatchGetAccessTokensResponse{}, false, false},
		"TokenService/ListMyGrants":   {policy.Draw, &holdfastv1.ListMyGrantsRequest{}, &holdfastv1.ListMyGrantsResponse{}, true, false},
		"ConsentService/StartConsent": {policy.Consent, &holdfastv1.StartConsentRequest{Address: a}, &holdfastv1.StartConsentResponse{}, false, false},
		"ConsentService/GetConsent":   {policy.Consent, &holdfastv1.GetConsentRequest{ConsentId: "cns_none"}, &holdfastv1.GetConsentResponse{}, false, true},
		"AdminService/ListGrants":     {policy.Read, &holdfastv1.ListGrantsRequest{}, &holdfastv1.ListGrantsResponse{}, false, false},
		"AdminService/GetGrant":       {policy.Read, &holdfastv1.GetGrantRequest{Grant: g}, &holdfastv1.GetGrantResponse{}, false, false},
		"AdminService/ListApps":       {policy.Read, &holdfastv1.ListAppsRequest{}, &holdfastv1.ListAppsResponse{}, false, false},
		"AdminService/GetStatus":      {policy.Read, &holdfastv1.GetStatusRequest{}, &holdfastv1.GetStatusResponse{}, false, false},
		"AdminService/RevokeGrant":    {policy.Operate, &holdfastv1.RevokeGrantRequest{Grant: g}, &holdfastv1.RevokeGrantResponse{}, false, false},
		"AdminService/StartReauth":    {policy.Operate, &holdfastv1.StartReauthRequest{Grant: g}, &holdfastv1.StartReauthResponse{}, false, false},
		"AdminService/ForceRefresh":   {policy.Operate, &holdfastv1.ForceRefreshRequest{Grant: g}, &holdfastv1.ForceRefreshResponse{}, false, false},
		"AdminService/PauseApp":       {policy.Operate, &holdfastv1.PauseAppRequest{AppId: "jira"}, &holdfastv1.PauseAppResponse{}, false, false},
		"AdminService/ResumeApp":      {policy.Operate, &holdfastv1.ResumeAppRequest{AppId: "jira"}, &holdfastv1.ResumeAppResponse{}, false, false},
		"AdminService/AdoptGrants":    {policy.Maintain, &holdfastv1.AdoptGrantsRequest{Mode: holdfastv1.AdoptMode_ADOPT_MODE_ADOPT}, &holdfastv1.AdoptGrantsResponse{}, false, false},
		"AdminService/PurgeGrant":     {policy.Maintain, &holdfastv1.PurgeGrantRequest{Grant: g}, &holdfastv1.PurgeGrantResponse{}, false, false},
		"AdminService/RotateKeys":     {policy.Maintain, &holdfastv1.RotateKeysRequest{}, &holdfastv1.RotateKeysResponse{}, false, false},
		"AdminService/WhoHad":         {policy.Investigate, &holdfastv1.WhoHadRequest{Token: &holdfastv1.WhoHadRequest_Grant{Grant: g}}, &holdfastv1.WhoHadResponse{}, false, false},
		"AdminService/ExplainAccess":  {policy.Investigate, &holdfastv1.ExplainAccessRequest{Caller: "x", Action: "draw"}, &holdfastv1.ExplainAccessResponse{}, false, false},
		"Health/Check":                known,
		"Health/List":                 {request: &healthpb.HealthListRequest{}, answer: &healthpb.HealthListResponse{}},
		// Streams: that they let in who is known, and nobody else, is shown elsewhere.
		"Health/Watch": {}, "ServerReflection/ServerReflectionInfo": {},
	}
}

// roles are callers and what each may do.
var roles = map[string][]policy.Action{
	"drawer": {policy.Draw}, "consenter": {policy.Consent}, "reader": {policy.Read}, "runner": {policy.Operate},
	"maintainer": {policy.Maintain}, "investigator": {policy.Investigate}, "nobody": {},
	"stranger":  {}, // no policy and no group names it
	"everybody": policy.Actions(),
	adminX509:   {policy.Consent, policy.Read, policy.Operate, policy.Maintain, policy.Investigate}, // admin: true
}

// rolesFile is the policy that gives them that; the admin has it from callers.
func rolesFile() (text string) {
	for role, may := range roles {
		if role == adminX509 {
			continue
		}
		for _, a := range may {
			text += `@id("` + role + "-" + string(a) + `") permit (principal == Caller::"` + role + `", action == Action::"` + string(a) + "\", resource);\n"
		}
	}
	return text
}

// TestEveryRpcIsForThoseWhoseActionItIs asks the server for its rpcs, so that a
// new one without a row fails.
func TestEveryRpcIsForThoseWhoseActionItIs(t *testing.T) {
	files := t.TempDir()
	put(t, files, "roles.cedar", rolesFile())
	w := newWorld(t, "policy: {files: ["+files+"], groups: {all: ["+strings.Join(slices.DeleteFunc(slices.Sorted(maps.Keys(roles)),
		func(r string) bool { return r == "stranger" || r == adminX509 }), ", ")+"]}}\n#%s%s\n")
	w.start()
	rows := acts()
	served := map[string]bool{}
	for full := range everyMethod(t, w.connect(w.named(adminX509))) {
		parts := strings.Split(full, "/")
		short := parts[1][strings.LastIndex(parts[1], ".")+1:] + "/" + parts[2]
		served[short] = true
		if _, listed := rows[short]; !listed {
			t.Errorf("%s has no row: say which action it needs", full)
		}
		for role, may := range roles {
			if row := rows[short]; row.request != nil {
				t.Run(short+" by "+role, func(t *testing.T) { row.ask(t, w.connect(w.named(role)), full, role, may) })
			}
		}
	}
	for short := range rows {
		if !served[short] {
			t.Errorf("%s has a row and is not served", short)
		}
	}
}

func (row act) ask(t *testing.T, conn *grpc.ClientConn, full, role string, may []policy.Action) {
	answer := row.answer.ProtoReflect().New().Interface()
	err := conn.Invoke(t.Context(), full, row.request, answer)
	reason := reasonOf(err)
	if batch, ok := answer.(*holdfastv1.BatchGetAccessTokensResponse); ok && err == nil {
		reason = strings.TrimPrefix(batch.GetResults()[0].GetError().GetReason().String(), "ERROR_REASON_")
	}
	allowed := slices.Contains(may, row.action) || row.anyAction && len(may) > 0 || row.action == "" && role != "stranger"
	refused := "CALLER_NOT_ALLOWED"
	if row.hidden {
		refused, allowed = "GRANT_NOT_FOUND", false
	}
	if got := reason != refused; got != allowed || reason == "CALLER_UNAUTHENTICATED" {
		t.Errorf("let in %v, want %v: %v", got, allowed, err)
	}
	if reason == refused && !row.hidden && !strings.Contains(status.Convert(err).Message(), "holdfast policy explain") && row.action != "" && err != nil {
		t.Errorf("the refusal does not say where to ask why: %v", err)
	}
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return status.Code(err).String()
}

func TestChangedPolicyFilesComeIntoForceAndBadOnesDoNot(t *testing.T) {
	dir, next := t.TempDir(), t.TempDir()
	const allow = `@id("reader") permit (principal == Caller::"reader", action == Action::"read", resource);`
	put(t, dir, "reader.cedar", allow)
	put(t, next, "next.cedar", `@id("next") permit (principal, action == Action::"draw", resource);`)
	w := newWorld(t, "policy: {files: ["+dir+"], shadow: ["+next+"], groups: {all: [reader]}}\nlimits: {caller_rate: 1000000}\n#%s%s\n").start()
	looks := make(chan struct{}, 10)
	servers := w.node.recheck.Load()
	watched := func() { (*servers)(); looks <- struct{}{} }
	w.node.recheck.Store(&watched)
	reader, admin := w.connect(w.named("reader")), w.connect(w.named(adminX509))
	complaint := func() string {
		s, err := holdfastv1.NewAdminServiceClient(admin).GetStatus(t.Context(), &holdfastv1.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(s.GetWarnings(), "\n")
	}
	is := func(code codes.Code) func(error) bool {
		return func(err error) bool { return status.Code(err) == code }
	}
	ask := func() error { return w.status(reader, "") }
	w.eventually("the first file", ask, is(codes.OK))
	if n := values(t, w.node.metrics)["holdfast_policy_shadow_differences_total read deny"]; n < 1 {
		t.Errorf("%v differences of the shadow set are counted", n)
	}

	put(t, dir, "reader.cedar", "@id(\"reader\")\npermit (principal, action, resourc);")
	stale := func(error) bool { return values(t, w.node.metrics)["holdfast_policy_stale"] == 1 }
	w.eventually("the complaint", func() error { return nil }, stale)
	if text := complaint(); !strings.Contains(text, "reader.cedar:2: not a Cedar policy") || !strings.Contains(text, "stays in force") {
		t.Errorf("the status says %q", text)
	}
	if err := ask(); err != nil {
		t.Errorf("a bad file took a right away: %v", err)
	}
	if !stale(nil) || strings.Count(w.log.String(), "cannot be used") != 1 {
		t.Errorf("the metric, or the log once, does not say so:\n%s", w.log)
	}

	put(t, dir, "reader.cedar", strings.Replace(allow, "permit", "forbid", 1))
	w.eventually("the right taken away", ask, is(codes.PermissionDenied))
	select {
	case <-looks:
	case <-time.After(5 * time.Second):
		t.Error("standing streams are not looked at again")
	}
	if len(looks) > 0 {
		t.Error("files that cannot be used had streams looked at, too")
	}
	if text := complaint(); text != "" {
		t.Errorf("a good file left the complaint %q", text)
	}
}

func TestABadPolicyFileIsRefusedAtTheStartWithItsLine(t *testing.T) {
	dir, _ := prepared(t)
	put(t, dir, "p.cedar", "\n\npermit (principal, action, resource);")
	_, _, err := config.Parse(filepath.Join(dir, "holdfast.yaml"), []byte(fileText+"policy: {files: [p.cedar, none.cedar]}\n"))
	if err == nil || !strings.Contains(err.Error(), "none.cedar: cannot be read") {
		t.Fatalf("got %v", err)
	}
	_, _, err = config.Parse(filepath.Join(dir, "holdfast.yaml"), []byte(fileText+"policy: {files: [p.cedar]}\n"))
	if err == nil || !strings.Contains(err.Error(), "p.cedar:3: the policy has no id") {
		t.Fatalf("got %v", err)
	}
}

// put writes a file as an orchestrator does, whole at once.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	fresh := filepath.Join(dir, ".fresh")
	if err := errors.Join(os.WriteFile(fresh, []byte(text), 0o600), os.Rename(fresh, filepath.Join(dir, name))); err != nil {
		t.Fatal(err)
	}
}
