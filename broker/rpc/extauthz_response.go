package rpc

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	extauthzv1 "github.com/holdfast-io/holdfast/proto/holdfast/extauthz/v1"
	"github.com/holdfast-io/holdfast/secret"
)

// allowed sets the token and the site's base path on a request. Each header takes
// the place of what the workload sent by that name. None is named for removal: the
// proxy removes after it has set, and would remove the token again.
func allowed(token secret.String, base *url.URL, w *wanted) *extauthzv1.CheckResponse {
	set := []*extauthzv1.HeaderValueOption{
		replace("authorization", "Bearer "+token.Reveal()),
		replace(":path", onSite(base.EscapedPath(), w.target)),
	}
	if base.Host != w.host {
		set = append(set, replace(":authority", base.Host))
	}
	return &extauthzv1.CheckResponse{
		Status:       &extauthzv1.Status{Code: int32(codes.OK)},
		HttpResponse: &extauthzv1.CheckResponse_OkResponse{OkResponse: &extauthzv1.OkResponse{Headers: set}},
	}
}

// overwrite is Envoy's OVERWRITE_IF_EXISTS_OR_ADD.
const overwrite = 2

func replace(name, value string) *extauthzv1.HeaderValueOption {
	return &extauthzv1.HeaderValueOption{
		Header:       &extauthzv1.HeaderValue{Key: name, Value: value},
		AppendAction: overwrite,
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
func denied(err error) *extauthzv1.CheckResponse {
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
	headers := []*extauthzv1.HeaderValueOption{
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
	return &extauthzv1.CheckResponse{
		Status: &extauthzv1.Status{Code: int32(st.Code()), Message: body.Reason},
		HttpResponse: &extauthzv1.CheckResponse_DeniedResponse{DeniedResponse: &extauthzv1.DeniedResponse{
			Status: &extauthzv1.HttpStatus{Code: int32(code)}, Headers: headers, Body: string(text) + "\n",
		}},
	}
}
