package rpc

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/secret"
)

// allowed sets the token and the site's base path on a request. Each header takes
// the place of what the workload sent by that name. None is named for removal: the
// proxy removes after it has set, and would remove the token again.
func allowed(token secret.String, base *url.URL, w *wanted) *authv3.CheckResponse {
	set := []*corev3.HeaderValueOption{
		replace("authorization", "Bearer "+token.Reveal()),
		replace(":path", onSite(base.EscapedPath(), w.target)),
	}
	if base.Host != w.host {
		set = append(set, replace(":authority", base.Host))
	}
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{Headers: set}},
	}
}

func replace(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// onSite puts a path behind the site's base path, unless it stands there already,
// as it does if the workload was given the whole base URL.
func onSite(base, target string) string {
	if rest, there := strings.CutPrefix(target, base); there && (rest == "" || rest[0] == '/' || rest[0] == '?') {
		return target
	}
	return base + target
}

// httpStatus of refusals, by their codes.
var httpStatus = map[codes.Code]int{
	codes.Unauthenticated:    http.StatusUnauthorized,
	codes.PermissionDenied:   http.StatusForbidden,
	codes.NotFound:           http.StatusNotFound,
	codes.FailedPrecondition: http.StatusConflict,
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.ResourceExhausted:  http.StatusTooManyRequests,
	codes.Unavailable:        http.StatusServiceUnavailable,
}

// denial is the body of a refused request's answer.
type denial struct {
	Reason     string            `json:"reason"`
	Message    string            `json:"message"`
	RetryAfter int64             `json:"retry_after_seconds,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

// denied says to the workload what the contract's clients get in a status.
func denied(err error) *authv3.CheckResponse {
	st := status.Convert(err)
	code, known := httpStatus[st.Code()]
	if !known {
		code = http.StatusInternalServerError
	}
	body := denial{Reason: "INTERNAL", Message: st.Message()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			body.Reason, body.Metadata = d.GetReason(), d.GetMetadata()
		case *errdetails.RetryInfo:
			body.RetryAfter = int64(math.Ceil(d.GetRetryDelay().AsDuration().Seconds()))
		}
	}
	headers := []*corev3.HeaderValueOption{
		replace("content-type", "application/json"),
		replace("cache-control", "no-store"),
		replace("x-holdfast-reason", body.Reason),
	}
	if body.RetryAfter > 0 {
		headers = append(headers, replace("retry-after", strconv.FormatInt(body.RetryAfter, 10)))
	}
	if code == http.StatusUnauthorized {
		headers = append(headers, replace("www-authenticate", "Holdfast")) // RFC 9110, section 11.6.1, wants one
	}
	text, err := json.Marshal(body)
	if err != nil { // strings and a number: cannot fail
		text = []byte(`{"reason":"INTERNAL"}`)
	}
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(st.Code()), Message: body.Reason},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(code)}, Headers: headers, Body: string(text) + "\n",
		}},
	}
}
