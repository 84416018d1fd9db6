package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// everyMethod asks the server itself, as an admin, for all that it serves.
func everyMethod(t testing.TB, conn *grpc.ClientConn) map[string]*descriptorpb.MethodDescriptorProto {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	methods := map[string]*descriptorpb.MethodDescriptorProto{}
	list := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	for _, service := range list.GetListServicesResponse().GetService() {
		files := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service.GetName()}})
		for _, text := range files.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(text, file); err != nil {
				t.Fatal(err)
			}
			for _, s := range file.GetService() {
				if file.GetPackage()+"."+s.GetName() != service.GetName() {
					continue
				}
				for _, m := range s.GetMethod() {
					methods["/"+service.GetName()+"/"+m.GetName()] = m
				}
			}
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	return methods
}

// callMethod calls whatever kind of method it is with an empty request.
func callMethod(ctx context.Context, conn *grpc.ClientConn, full string, m *descriptorpb.MethodDescriptorProto) error {
	desc := &grpc.StreamDesc{ClientStreams: m.GetClientStreaming(), ServerStreams: m.GetServerStreaming()}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, desc, full)
	if err != nil {
		return err
	}
	_ = stream.SendMsg(&emptypb.Empty{}) // a refusal may come first; RecvMsg tells it
	_ = stream.CloseSend()               // likewise
	return stream.RecvMsg(&emptypb.Empty{})
}

func TestWithoutAnIdentityNoHandlerIsReachedOnAnyPort(t *testing.T) {
	w := newWorld(t, byFiles).start()
	methods := everyMethod(t, w.connect(w.named(adminX509)))
	if len(methods) < 15 {
		t.Fatalf("reflection tells of %d methods", len(methods))
	}
	for full, m := range methods {
		// A connection that shows nothing is closed after a few tries.
		if err := callMethod(t.Context(), w.connect(nil), full, m); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s without an identity: %v", full, err)
		}
	}
	if err := callMethod(t.Context(), w.connect(nil), "/holdfast.v1.None/None", &descriptorpb.MethodDescriptorProto{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a method that does not exist, without an identity: %v", err)
	}

	// What needs no identity by design: the connect page, whose links are
	// capabilities, and the health and metrics of the process.
	public, private := "https://"+w.node.listens.http.Addr().String(), "http://"+w.node.listens.metrics.Addr().String()
	open := map[string]bool{
		public + "/healthz": true, public + "/readyz": true,
		private + "/healthz": true, private + "/readyz": true, private + "/metrics": true,
	}
	client := browser(t, w.dir)
	for _, base := range []string{public, private} {
		for _, path := range []string{
			"/", "/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/vars", "/admin", "/console", "/grants", "/v1/grants",
			"/connect/x", "/oauth/callback", "/oauth/callback?state=cns_x.y&code=c", "/consents/cns_x", "/consents/cns_x/confirm", "/holdfast.v1.AdminService/GetStatus",
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
				code, body := send(t, client, method, base+path)
				if ok := code < 300 || code == http.StatusServiceUnavailable; ok != (open[base+path] && method == http.MethodGet) {
					t.Errorf("%s %s%s: status %d", method, base, path, code)
				}
				if strings.Contains(body, "acme/") {
					t.Errorf("%s %s%s tells of grants", method, base, path)
				}
			}
		}
	}
}

func send(t *testing.T, client *http.Client, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(fmt.Errorf("%s %s: %w", method, url, err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
