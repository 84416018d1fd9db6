package atlassiansim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// answer is a complete HTTP answer that has not been sent yet.
type answer struct {
	status int
	header map[string]string
	body   []byte
}

func jsonAnswer(status int, v any) answer {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return textAnswer(http.StatusInternalServerError, "simulator: encoding the answer failed\n")
	}
	return answer{status: status, body: bytes.TrimSuffix(body.Bytes(), []byte("\n")), header: map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store",
	}}
}

func textAnswer(status int, body string) answer {
	return answer{status: status, body: []byte(body), header: map[string]string{"Content-Type": "text/plain; charset=utf-8"}}
}

func htmlAnswer(status int) answer {
	return answer{status: status, header: map[string]string{"Content-Type": "text/html; charset=utf-8"},
		body: []byte("<!doctype html><html><head><title>Atlassian</title></head><body><h1>We'll be right back</h1></body></html>\n")}
}

// oauthError is the body of section 5.2 of RFC 6749.
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func oauthAnswer(status int, code, description string) answer {
	return jsonAnswer(status, oauthError{code, description})
}

// instead returns the answer of a fault that replaces whatever was answered,
// or ans unchanged.
func (f *Fault) instead(ans answer, b *Behaviour, now time.Time) answer {
	status := func(otherwise int) int {
		if f.Status != 0 {
			return f.Status
		}
		return otherwise
	}
	switch f.kind() {
	case FaultHTML:
		return htmlAnswer(status(http.StatusOK))
	case FaultStatus:
		return textAnswer(status(http.StatusServiceUnavailable), "upstream error\n")
	case FaultRefuse:
		return refusal(b)
	case FaultOAuthError:
		return oauthAnswer(status(http.StatusBadRequest), f.Error, f.ErrorDescription)
	case FaultRateLimit:
		ans := jsonAnswer(http.StatusTooManyRequests, map[string]any{"code": 429, "message": "Rate limit exceeded"})
		switch f.RetryAfterForm {
		case "date":
			ans.header["Retry-After"] = now.Add(seconds(f.RetryAfterSeconds)).UTC().Format(http.TimeFormat)
		case "", "seconds":
			ans.header["Retry-After"] = strconv.Itoa(f.RetryAfterSeconds)
		}
		return ans
	default:
		return ans
	}
}

// send writes an answer, spoilt as the fault wants it. It may panic with
// http.ErrAbortHandler, so the caller must hold no lock.
func (s *Sim) send(w http.ResponseWriter, r *http.Request, ans answer, f *Fault) {
	switch f.kind() {
	case FaultHang:
		d := f.delay()
		if d == 0 {
			d = maxDelay
		}
		s.pause(r, d)
		panic(http.ErrAbortHandler)
	case FaultDropBeforeAnswer:
		panic(http.ErrAbortHandler)
	case FaultGzipMislabelled:
		ans.header["Content-Encoding"] = "gzip"
	case FaultGzipUnlabelled:
		ans.body = zip(ans.body)
	case FaultTruncatedJSON:
		ans.body = ans.body[:len(ans.body)/2]
	}
	for k, v := range ans.header {
		w.Header().Set(k, v)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(ans.body)))
	w.WriteHeader(ans.status)
	switch f.kind() {
	case FaultDropAfterHeaders:
		breakOff(w, nil)
	case FaultDropMidBody:
		breakOff(w, ans.body[:len(ans.body)/2])
	}
	_, _ = w.Write(ans.body) // fails if the client is gone, which is its business
}

// breakOff sends the first part of a body and closes the connection.
func breakOff(w http.ResponseWriter, part []byte) {
	_, _ = w.Write(part)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // a Buffer does not fail
	_ = z.Close()
	return out.Bytes()
}

func (f *Fault) delay() time.Duration {
	if f == nil {
		return 0
	}
	return time.Duration(f.DelayMillis) * time.Millisecond
}

// pause waits for d, until Close, or, if r is given, until its client is gone.
func (s *Sim) pause(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	var gone <-chan struct{}
	if r != nil {
		gone = r.Context().Done()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-gone:
	case <-s.closed:
	}
}
