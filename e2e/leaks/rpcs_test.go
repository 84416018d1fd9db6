package leaks

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// carriers are the fields of answers that carry a secret because that is what
// they are for, and the kind that each carries.
var carriers = map[protoreflect.FullName]string{
	"holdfast.v1.GetAccessTokenResponse.access_token": accessToken,
	"holdfast.v1.StartConsentResponse.url":            link,
	"holdfast.v1.StartReauthResponse.url":             link,
}

// callers has a connection of each.
type callers map[string]*grpc.ClientConn

const (
	operator    = "operator"
	integration = "integration"
	nobody      = "nobody" // whose certificate belongs to no configured caller
)

func (w *world) callers() callers {
	c := callers{}
	for _, name := range []string{operator, integration, nobody} {
		c[name] = w.Conn(w.t, name)
	}
	return c
}

// served are the full names of the methods of the contract, as the server itself lists them.
func (w *world) served(c callers) (methods []protoreflect.MethodDescriptor) {
	w.t.Helper()
	stream, err := reflection.NewServerReflectionClient(c[operator]).ServerReflectionInfo(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	ask := &reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_ListServices{}}
	if err := errors.Join(stream.Send(ask), stream.CloseSend()); err != nil {
		w.t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		w.t.Errorf("after the list: %v", err)
	}
	for _, s := range answer.GetListServicesResponse().GetService() {
		if !strings.HasPrefix(s.GetName(), "holdfast.") {
			continue
		}
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.GetName()))
		if err != nil {
			w.t.Fatal(err)
		}
		list := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range list.Len() {
			methods = append(methods, list.Get(i))
		}
	}
	if len(methods) < 16 {
		w.t.Fatalf("the server lists %d methods of the contract, want all", len(methods))
	}
	return methods
}

// everyRPC calls every method that the server has with every request of its row,
// as every caller, and returns the reasons of the refusals.
func (w *world) everyRPC(c callers) (reasons []string) {
	w.t.Helper()
	rows := w.requests()
	for _, m := range w.served(c) {
		requests, known := rows[m.Name()]
		if !known || m.IsStreamingClient() {
			w.t.Errorf("%s is not driven: give it a row in requests (and this loop, if its client streams)", m.FullName())
		}
		for _, req := range requests {
			for _, as := range []string{nobody, integration, operator} {
				reasons = append(reasons, w.call(c, as, m, req))
			}
		}
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// call makes one call, scans its whole answer, and returns the reason of a refusal.
func (w *world) call(c callers, as string, m protoreflect.MethodDescriptor, req proto.Message) string {
	w.t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		w.t.Fatal(err)
	}
	answer := kind.New().Interface()
	var header, trailer metadata.MD
	place := string(m.FullName()) + " as " + as
	full := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	if m.IsStreamingServer() {
		header, trailer, err = first(w.t.Context(), c[as], full, req, answer)
	} else {
		err = c[as].Invoke(w.t.Context(), full, req, answer, grpc.Header(&header), grpc.Trailer(&trailer))
	}
	for _, md := range []metadata.MD{header, trailer} {
		for k, values := range md {
			if k != "grpc-status-details-bin" { // looked at below, where it is readable
				w.look(place+", metadata "+k, []byte(strings.Join(values, " ")))
			}
		}
	}
	if err != nil {
		w.refusal(place, err)
		return rig.Reason(err)
	}
	w.clear(place, as, answer.ProtoReflect())
	wire, _ := proto.Marshal(answer)
	w.look(place+", the rest of the answer", wire)
	text, _ := protojson.Marshal(answer)
	w.look(place+", the rest of the answer in JSON", text)
	return ""
}

// first opens a stream of the server's and takes its first message.
func first(ctx context.Context, conn *grpc.ClientConn, full string, req, answer proto.Message) (header, trailer metadata.MD, err error) {
	ctx, cancel := context.WithTimeout(ctx, rig.Patience)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, full)
	if err != nil {
		return nil, nil, err
	}
	_ = stream.SendMsg(req) // a refusal may come first; RecvMsg tells it
	_ = stream.CloseSend()  // likewise
	err = stream.RecvMsg(answer)
	header, _ = stream.Header() // its error is that of RecvMsg
	if err != nil {
		trailer = stream.Trailer()
	}
	return header, trailer, err
}

// refusal scans an error's message and details. A connect link may stand under
// its own name in the metadata.
func (w *world) refusal(place string, err error) {
	w.t.Helper()
	s := status.Convert(err)
	w.look(place+", the error's message", []byte(s.Message()))
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetMetadata()["link"] != "" {
			w.plantLink(info.GetMetadata()["link"])
			delete(info.GetMetadata(), "link")
		}
		text, _ := protojson.Marshal(d.(proto.Message))
		w.look(place+", the error's details", text)
	}
}

// clear makes what carriers carry known, checks that its caller may have it, and takes it out.
func (w *world) clear(place, as string, m protoreflect.Message) {
	w.t.Helper()
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		kind, carries := carriers[f.FullName()]
		switch {
		case carries && (kind == accessToken) != (as == integration):
			w.t.Errorf("%s got a %s", place, kind)
		case carries && kind == link:
			w.plantLink(v.String())
			m.Clear(f)
		case carries:
			if found := w.scan.find([]byte(v.String()), kind); len(found) > 0 || len(w.scan.find([]byte(v.String()))) == 0 {
				w.t.Errorf("%s: %s holds %v, want a %s that came by", place, f.FullName(), found, kind)
			}
			m.Clear(f)
		case f.IsMap() && f.Name() == "metadata": // of a refusal that is a message
			if key := protoreflect.ValueOfString("link").MapKey(); v.Map().Has(key) {
				w.plantLink(v.Map().Get(key).String())
				v.Map().Clear(key)
			}
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				w.clear(place, as, v.List().Get(i).Message())
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			w.clear(place, as, v.Message())
		}
		return true
	})
}

// requests are the rows: good ones, bad ones, and ones with a secret where it does not belong.
func (w *world) requests() map[protoreflect.Name][]proto.Message {
	jira, wiki := w.jira.Grant(subject), w.wiki.Grant(subject)
	none := &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: "grt_" + strings.Repeat("a", 26)}}
	broken := &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: w.canary(planted)}}
	rows := map[protoreflect.Name][]proto.Message{
		"GetAccessToken": {
			&holdfastv1.GetAccessTokenRequest{Grant: jira, Purpose: "a-test"},
			&holdfastv1.GetAccessTokenRequest{Grant: jira, RequiredScopes: []string{"write:nothing"}},
			&holdfastv1.GetAccessTokenRequest{Grant: jira, Site: "https://nowhere.atlassian.net"},
			&holdfastv1.GetAccessTokenRequest{Grant: jira, Purpose: w.canary(planted) + "!"},
			&holdfastv1.GetAccessTokenRequest{Grant: none}, &holdfastv1.GetAccessTokenRequest{Grant: broken}, &holdfastv1.GetAccessTokenRequest{},
		},
		"BatchGetAccessTokens": {&holdfastv1.BatchGetAccessTokensRequest{Requests: []*holdfastv1.GetAccessTokenRequest{
			{Grant: jira}, {Grant: wiki}, {Grant: none}, {Grant: wiki, RequiredScopes: []string{"write:nothing"}},
		}}},
		"WatchAccessToken": {
			&holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{Grant: jira, Purpose: "a-test"}},
			&holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{Grant: jira, RequiredScopes: []string{"write:nothing"}}},
			&holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{Grant: jira, Purpose: w.canary(planted) + "!"}},
			&holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{Grant: none}},
			&holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{Grant: broken}},
			&holdfastv1.WatchAccessTokenRequest{},
		},
		"ReportRejectedToken": {
			&holdfastv1.ReportRejectedTokenRequest{Grant: jira, Generation: 1, HttpStatus: 401}, &holdfastv1.ReportRejectedTokenRequest{Grant: none},
		},
		"ListMyGrants": {&holdfastv1.ListMyGrantsRequest{}, &holdfastv1.ListMyGrantsRequest{PageToken: w.canary(planted)}},
		"StartConsent": {
			&holdfastv1.StartConsentRequest{Address: w.jira.Address("somebody")},
			&holdfastv1.StartConsentRequest{Address: w.jira.Address("somebody"), ReturnUrl: "https://evil.example/" + w.canary(planted)},
			&holdfastv1.StartConsentRequest{Address: &holdfastv1.GrantAddress{Tenant: w.canary(planted) + "/"}},
		},
		"GetConsent":  {&holdfastv1.GetConsentRequest{ConsentId: "cns_none"}},
		"ListGrants":  {&holdfastv1.ListGrantsRequest{}},
		"GetGrant":    {&holdfastv1.GetGrantRequest{Grant: jira}, &holdfastv1.GetGrantRequest{Grant: none}},
		"ListApps":    {&holdfastv1.ListAppsRequest{}},
		"GetStatus":   {&holdfastv1.GetStatusRequest{}},
		"AdoptGrants": {&holdfastv1.AdoptGrantsRequest{Mode: holdfastv1.AdoptMode_ADOPT_MODE_ADOPT, DryRun: true}},
		"ForceRefresh": {
			&holdfastv1.ForceRefreshRequest{Grant: jira}, &holdfastv1.ForceRefreshRequest{Grant: none},
		},
		"PauseApp":  {&holdfastv1.PauseAppRequest{AppId: w.wiki.Product, Reason: "a test"}, &holdfastv1.PauseAppRequest{AppId: "none"}},
		"ResumeApp": {&holdfastv1.ResumeAppRequest{AppId: w.wiki.Product}},
		"ExplainAccess": {
			&holdfastv1.ExplainAccessRequest{Caller: integration, Action: "draw", Grant: w.jira.Address(subject)},
		},
		"WhoHad": {
			&holdfastv1.WhoHadRequest{Token: &holdfastv1.WhoHadRequest_AccessToken{AccessToken: w.canary(accessToken)}},
			&holdfastv1.WhoHadRequest{Token: &holdfastv1.WhoHadRequest_Grant{Grant: jira}},
		},
		"RotateKeys": {&holdfastv1.RotateKeysRequest{}},
		// What ends a grant is dry here, and done by endings.
		"RevokeGrant": {&holdfastv1.RevokeGrantRequest{Grant: wiki, DryRun: true}, &holdfastv1.RevokeGrantRequest{Grant: none}},
		"StartReauth": {&holdfastv1.StartReauthRequest{Grant: none}},
		"PurgeGrant":  {&holdfastv1.PurgeGrantRequest{Grant: wiki, DryRun: true}},
	}
	return rows
}
