package rpc

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestBrokenRulesNameTheirFields(t *testing.T) {
	type get = holdfastv1.GetAccessTokenRequest
	token := func(change func(*get)) *get {
		r := hotRequest()
		change(r)
		return r
	}
	const getName, batch = holdfastv1.TokenService_GetAccessToken_FullMethodName, holdfastv1.TokenService_BatchGetAccessTokens_FullMethodName
	const admin, mine = holdfastv1.AdminService_ListGrants_FullMethodName, holdfastv1.TokenService_ListMyGrants_FullMethodName
	for _, row := range []struct {
		method string
		req    proto.Message
		want   []string
	}{
		{getName, &get{}, []string{"grant"}},
		{getName, &get{Grant: &holdfastv1.GrantSelector{}}, []string{"grant.selector"}},
		{getName, token(func(r *get) { r.Grant.GetAddress().Tenant = "a b" }), []string{"grant.address.tenant"}},
		{getName, token(func(r *get) { r.Grant.GetAddress().Name = strings.Repeat("a", 129) }), []string{"grant.address.name"}},
		{getName, token(func(r *get) { r.Grant.GetAddress().Product, r.Purpose = "", "UPPER" }), []string{"grant.address.product", "purpose"}},
		{getName, token(func(r *get) { r.Grant.Selector = &holdfastv1.GrantSelector_Id{Id: "grt_1"} }), []string{"grant.id"}},
		{getName, token(func(r *get) { r.MinTtl = durationpb.New(-1) }), []string{"min_ttl"}},
		{getName, token(func(r *get) { r.RequiredScopes = []string{"ok", "a b"} }), []string{"required_scopes[1]"}},
		{getName, token(func(r *get) { r.RequiredScopes = slices.Repeat([]string{"s"}, 101) }), []string{"required_scopes"}},
		{getName, token(func(r *get) { r.Site = strings.Repeat("a", 513) }), []string{"site"}},
		{batch, &holdfastv1.BatchGetAccessTokensRequest{}, []string{"requests"}},
		{batch, &holdfastv1.BatchGetAccessTokensRequest{Requests: slices.Repeat([]*get{hotRequest()}, 101)}, []string{"requests"}},
		{batch, &holdfastv1.BatchGetAccessTokensRequest{Requests: []*get{hotRequest(), {}}}, []string{"requests[1].grant"}},
		{holdfastv1.TokenService_ReportRejectedToken_FullMethodName, &holdfastv1.ReportRejectedTokenRequest{Grant: byAddress(), HttpStatus: 200}, []string{"generation", "http_status"}},
		{mine, &holdfastv1.ListMyGrantsRequest{PageSize: 1001}, []string{"page_size"}},
		{mine, &holdfastv1.ListMyGrantsRequest{PageSize: -1, PageToken: strings.Repeat("a", 1025)}, []string{"page_size", "page_token"}},
		{holdfastv1.ConsentService_StartConsent_FullMethodName, &holdfastv1.StartConsentRequest{ReturnUrl: "not a url"}, []string{"address", "return_url"}},
		{holdfastv1.ConsentService_GetConsent_FullMethodName, &holdfastv1.GetConsentRequest{}, []string{"consent_id"}},
		{admin, &holdfastv1.ListGrantsRequest{Phase: 99, Tenant: "*"}, []string{"tenant", "phase"}},
		{holdfastv1.AdminService_PurgeGrant_FullMethodName, &holdfastv1.PurgeGrantRequest{Grant: byAddress(), Reason: strings.Repeat("a", 257)}, []string{"reason"}},
		{holdfastv1.AdminService_RevokeGrant_FullMethodName, &holdfastv1.RevokeGrantRequest{Grant: byAddress(), Reason: strings.Repeat("a", 257)}, []string{"reason"}},
	} {
		r := newRig(t)
		err := r.dial(mapped).Invoke(t.Context(), row.method, row.req, &emptypb.Empty{})
		info, _, bad := details(err)
		var fields []string
		for _, v := range bad.GetFieldViolations() {
			fields = append(fields, v.GetField())
			if v.GetDescription() == "" || strings.Contains(v.GetDescription(), "regex") || !strings.Contains(status.Convert(err).Message(), v.GetField()) {
				t.Errorf("%s: %v does not say what is wrong with %s", row.method, err, v.GetField())
			}
		}
		if diff := cmp.Diff(row.want, fields); diff != "" || status.Code(err) != codes.InvalidArgument ||
			info.GetReason() != string(broker.ReasonInvalidRequest) || info.GetMetadata()["request_id"] == "" {
			t.Errorf("%s: %v: %s", row.method, err, diff)
		}
		if n, _, _ := r.broker.last(); n != 0 {
			t.Errorf("%s: the broker was called", row.method)
		}
	}
}

// TestPlainlyValidAgreesWithTheContract draws requests around the edges of the
// rules: the check by hand says yes exactly where protovalidate does.
func TestPlainlyValidAgreesWithTheContract(t *testing.T) {
	v, err := newValidator()
	if err != nil {
		t.Fatal(err)
	}
	text := rapid.OneOf(
		rapid.SampledFrom([]string{"", "acme", "a@b.c_d+e-f", "A", "read:jira-work", "a b", "x\n", "\n", "\"", "\\", "~!", "é", "a/b", "\x7f",
			"grt_" + strings.Repeat("a7", 13), "grt_" + strings.Repeat("a1", 13), "GRT_" + strings.Repeat("a7", 13)}),
		rapid.Custom(func(t *rapid.T) string {
			n := rapid.SampledFrom([]int{1, 63, 64, 65, 127, 128, 129, 511, 512, 513}).Draw(t, "length")
			return strings.Repeat(rapid.SampledFrom([]string{"a", "Z", "9", "+", ":", "é"}).Draw(t, "byte"), n)
		}),
		rapid.StringMatching(`[ -~]{1,3}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		req := &holdfastv1.GetAccessTokenRequest{}
		switch rapid.IntRange(0, 5).Draw(t, "selector") {
		case 0:
		case 1:
			req.Grant = &holdfastv1.GrantSelector{}
		case 2:
			req.Grant = &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: text.Draw(t, "id")}}
		default:
			a := &holdfastv1.GrantAddress{Tenant: "acme", Subject: "automation", Product: "jira"}
			for _, field := range []*string{&a.Tenant, &a.Subject, &a.Product, &a.Name} {
				if rapid.IntRange(0, 3).Draw(t, "change") == 0 {
					*field = text.Draw(t, "segment")
				}
			}
			req.Grant = &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: a}}
		}
		if rapid.Bool().Draw(t, "purpose?") {
			req.Purpose = text.Draw(t, "purpose")
		}
		if rapid.Bool().Draw(t, "site?") {
			req.Site = text.Draw(t, "site")
		}
		for range rapid.SampledFrom([]int{0, 0, 1, 2, 100, 101}).Draw(t, "scopes") {
			req.RequiredScopes = append(req.RequiredScopes, "s")
		}
		if len(req.RequiredScopes) > 0 && rapid.Bool().Draw(t, "scope?") {
			req.RequiredScopes[0] = text.Draw(t, "scope")
		}
		if rapid.Bool().Draw(t, "ttl?") {
			req.MinTtl = &durationpb.Duration{
				Seconds: rapid.SampledFrom([]int64{-1, 0, 1, 86399, 86400, 1 << 40}).Draw(t, "seconds"),
				Nanos:   rapid.SampledFrom([]int32{-1, 0, 1, 999999999, 1000000000}).Draw(t, "nanos"),
			}
		}
		valid, plain := v.Validate(req) == nil, plainlyValid(req)
		if plain && !valid {
			t.Fatalf("by hand it is valid, but the contract says: %v", v.Validate(req))
		}
		// The rare edge that is left to protovalidate costs time only.
		if edge := req.GetMinTtl().GetSeconds() == 86400 || req.GetMinTtl().GetNanos() < 0 || req.GetMinTtl().GetNanos() >= 1e9; valid && !plain && !edge {
			t.Fatalf("the contract says valid, by hand it is not plainly so: %v", req)
		}
		watch := &holdfastv1.WatchAccessTokenRequest{Token: req}
		if valid := v.Validate(watch) == nil; valid != plainlyValid(watch) {
			t.Fatalf("to watch, the contract says %v, by hand it is %v: %v", valid, !valid, req)
		}
	})
}

// TestPlainlyValidAgreesOnEveryByteAndDuration walks what random draws may miss.
func TestPlainlyValidAgreesOnEveryByteAndDuration(t *testing.T) {
	v, err := newValidator()
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, req *holdfastv1.GetAccessTokenRequest) {
		t.Helper()
		if valid := v.Validate(req) == nil; valid != plainlyValid(req) {
			t.Errorf("%s: the contract says %v, by hand it is %v", what, valid, !valid)
		}
	}
	for c := range 128 {
		one := string(rune(c))
		r := hotRequest()
		r.Grant.GetAddress().Tenant = one
		check("tenant "+strconv.Quote(one), r)
		r = hotRequest()
		r.Purpose = one
		check("purpose "+strconv.Quote(one), r)
		r = hotRequest()
		r.RequiredScopes = []string{one}
		check("scope "+strconv.Quote(one), r)
		r = hotRequest()
		r.Grant.Selector = &holdfastv1.GrantSelector_Id{Id: "grt_" + strings.Repeat("a", 25) + one}
		check("id ending with "+strconv.Quote(one), r)
	}
	for _, d := range []*durationpb.Duration{
		{Seconds: -1}, {Nanos: -1}, {}, {Nanos: 1}, {Seconds: 86399, Nanos: 999999999}, {Seconds: 86400, Nanos: 1}, {Seconds: 86401},
	} {
		check("min_ttl "+d.String(), &holdfastv1.GetAccessTokenRequest{Grant: byAddress(), MinTtl: d})
	}
}

// TestPlainlyValidKnowsEveryField fails when a field joins the hot request, so
// that its rule is not forgotten in plain.go.
func TestPlainlyValidKnowsEveryField(t *testing.T) {
	for _, row := range []struct {
		msg  proto.Message
		want []string
	}{
		{&holdfastv1.GetAccessTokenRequest{}, []string{"grant", "site", "required_scopes", "min_ttl", "if_not_generation", "purpose"}},
		{&holdfastv1.GrantSelector{}, []string{"id", "address"}},
		{&holdfastv1.GrantAddress{}, []string{"tenant", "subject", "product", "name"}},
		{&holdfastv1.BatchGetAccessTokensRequest{}, []string{"requests"}},
		{&holdfastv1.WatchAccessTokenRequest{}, []string{"token"}},
	} {
		var got []string
		fields := row.msg.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			got = append(got, string(fields.Get(i).Name()))
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%T: teach plain.go the new field's rule first: %s", row.msg, diff)
		}
	}
}

func TestPlainlyValidBatch(t *testing.T) {
	for n, want := range map[int]bool{0: false, 1: true, 100: true, 101: false} {
		req := &holdfastv1.BatchGetAccessTokensRequest{Requests: slices.Repeat([]*holdfastv1.GetAccessTokenRequest{hotRequest()}, n)}
		if got := plainlyValid(req); got != want {
			t.Errorf("a batch of %d: %v, want %v", n, got, want)
		}
	}
	bad := &holdfastv1.BatchGetAccessTokensRequest{Requests: []*holdfastv1.GetAccessTokenRequest{hotRequest(), {MinTtl: durationpb.New(time.Second)}}}
	if plainlyValid(bad) || plainlyValid(&holdfastv1.GetGrantRequest{}) {
		t.Error("a bad member or another request passes as plainly valid")
	}
}

// TestEveryRequestFieldHasARule keeps unbounded input out of the broker: each
// string and repeated field of a request carries a rule.
func TestEveryRequestFieldHasARule(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var walk func(protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] || m.ParentFile().Package() != "holdfast.v1" {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if f.Kind() == protoreflect.StringKind || f.IsList() {
				if !proto.HasExtension(f.Options(), validate.E_Field) {
					t.Errorf("%s has no rule", f.FullName())
				}
			}
			rules, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
			for _, one := range []*validate.FieldRules{rules, rules.GetRepeated().GetItems()} {
				if p := one.GetString().GetPattern(); p != "" && patternWords[p] == "" {
					t.Errorf("%s: say the pattern %s in words, in words.go", f.FullName(), p)
				}
			}
			if f.Message() != nil {
				walk(f.Message())
			}
		}
	}
	for _, file := range contract() {
		for i := range file.Services().Len() {
			for j := range file.Services().Get(i).Methods().Len() {
				walk(file.Services().Get(i).Methods().Get(j).Input())
			}
		}
	}
}
