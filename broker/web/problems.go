package web

import (
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

// problem names a page about a request that belongs to no consent of this
// browser, or that could not be served. Some of the names appear in paths.
type problem string

const (
	problemLinkUnknown    problem = "link-unknown"
	problemLinkInvalid    problem = "link-invalid"
	problemOtherBrowser   problem = "other-browser"
	problemUnknownState   problem = "unknown-state"
	problemBadCallback    problem = "bad-callback"
	problemConsentUnknown problem = "consent-unknown"
	problemCannotDecide   problem = "cannot-decide"
	problemStopped        problem = "stopped"
	problemBusy           problem = "busy"
	problemUnavailable    problem = "unavailable"
	problemInternal       problem = "internal"
	problemNotFound       problem = "not-found"
	problemMethod         problem = "method"
	problemCrossOrigin    problem = "cross-origin"
	problemTooLong        problem = "too-long"
	problemBadForm        problem = "bad-form"
)

type problemText struct {
	code          int
	heading, lead string
	next          []string
	// landing: the callback redirects here, to leave code and state behind.
	landing bool
}

const tellOperators = "If it happens again, tell your Holdfast operators, with the reference below."

var problemTexts = map[problem]problemText{
	problemLinkUnknown: {
		code: http.StatusNotFound, heading: "This link is not known",
		lead: "No consent belongs to it, so there is nothing to grant.",
		next: []string{"Check that the whole link was copied.", askForNewLink},
	},
	problemLinkInvalid: {
		code: http.StatusBadRequest, heading: "This link cannot be used",
		lead: "It has expired, was used already, or is not complete. Nothing was granted now.",
		next: []string{"Check that the whole link was copied.", askForNewLink},
	},
	problemOtherBrowser: {
		code: http.StatusForbidden, heading: "This consent belongs to a different browser", landing: true,
		lead: "A consent must be finished in the browser that started it, and its result is shown only there and only for a while. Nothing was changed by opening this page.",
		next: []string{
			"Go back to the browser in which you pressed Continue, with cookies allowed.",
			"If you did not press Continue yourself, do not go on: somebody may have sent you their own sign-in. Close this page.",
		},
	},
	problemUnknownState: {
		code: http.StatusNotFound, heading: "This answer belongs to no consent", landing: true,
		lead: "The provider's answer names a consent that does not exist here, or no longer. Nothing was granted.",
		next: []string{askForNewLink},
	},
	problemBadCallback: {
		code: http.StatusBadRequest, heading: "The provider's answer is not complete", landing: true,
		lead: "Something that must be in it is missing or appears twice. Nothing was granted.",
		next: []string{askForNewLink, tellOperators},
	},
	problemConsentUnknown: {
		code: http.StatusNotFound, heading: "This consent is not known",
		lead: "It does not exist, or its record is no longer kept.",
		next: []string{askForNewLink},
	},
	problemCannotDecide: {
		code: http.StatusConflict, heading: "There is nothing to decide any more",
		lead: "This consent does not wait for a decision. Nothing was changed now.",
		next: []string{"Look at where the consent stands."},
	},
	problemStopped: {
		code: http.StatusConflict, heading: "An operator has stopped this", landing: true,
		lead: "The grant or its app was stopped, so no new permission can be taken for it.",
		next: []string{"Ask your Holdfast operators to allow it again, then ask for a new link."},
	},
	problemBusy: {
		code: http.StatusTooManyRequests, heading: "Too many requests at the moment",
		lead: "Nothing is lost.",
	},
	problemUnavailable: {
		code: http.StatusServiceUnavailable, heading: "Not available at the moment",
		lead: "A part that is needed to go on does not answer. Nothing is lost.",
	},
	problemInternal: {
		code: http.StatusInternalServerError, heading: "Something went wrong here", landing: true,
		lead: "This is a fault of this service, not yours.",
		next: []string{"Open the link that you were sent again.", tellOperators},
	},
	problemNotFound: {
		code: http.StatusNotFound, heading: "There is no such page",
		lead: "This address only serves consent links, and the one in your address bar is not among them.",
		next: []string{"Open the link that you were sent, and check that all of it was copied."},
	},
	problemMethod: {
		code: http.StatusMethodNotAllowed, heading: "This page cannot be used that way",
		lead: "The browser asked for something that this page does not do.",
		next: []string{"Open the link that you were sent again."},
	},
	problemCrossOrigin: {
		code: http.StatusForbidden, heading: "This request came from a different website",
		lead: "Another website tried to press a button here in your name. It was stopped, and nothing was changed.",
		next: []string{"Open the link that you were sent yourself, and press the button there."},
	},
	problemTooLong: {
		code: http.StatusRequestURITooLong, heading: "The address is too long",
		lead: "It is longer than any answer of the provider should be. Nothing was granted.",
		next: []string{"Open the link that you were sent again.", tellOperators},
	},
	problemBadForm: {
		code: http.StatusBadRequest, heading: "The decision did not arrive",
		lead: "The form came without a choice, so nothing was changed.",
		next: []string{"Go back and press one of the two buttons."},
	},
}

// problemOf chooses the page for a broker's error. unknown and invalid are what
// "not found" and "invalid" mean on the route.
func problemOf(err error, unknown, invalid problem) problem {
	switch broker.ReasonOf(err) {
	case broker.ReasonGrantNotFound:
		return unknown
	case broker.ReasonInvalidRequest:
		return invalid
	case broker.ReasonCallerUnauthenticated:
		return problemOtherBrowser
	case broker.ReasonGrantRevoked, broker.ReasonGrantQuarantined, broker.ReasonAppPaused:
		return problemStopped
	case broker.ReasonProviderUnavailable, broker.ReasonStoreUnavailable, broker.ReasonKeyUnavailable,
		broker.ReasonAuditUnavailable, broker.ReasonRefreshInProgress:
		return problemUnavailable
	case broker.ReasonProviderRateLimited, broker.ReasonCallerRateLimited:
		return problemBusy
	default:
		return problemInternal
	}
}

// fail logs what an operator must know and shows the page for err. back is
// where "try again" leads after a POST; empty: the page itself.
func (s *site) fail(w http.ResponseWriter, r *http.Request, err error, unknown, invalid problem, back string) {
	p := problemOf(err, unknown, invalid)
	s.logFailure(r, p, err)
	wait := time.Duration(0)
	message := ""
	if e, ok := errors.AsType[*broker.Error](err); ok {
		wait = e.RetryAfter
		// Only where the broker's words add to ours; an internal error gets the fixed sentence.
		if p == problemLinkInvalid || p == problemStopped {
			message = e.Message
		}
	}
	s.showProblem(w, r, p, problemDetails{message: message, retryAfter: wait, back: back, reference: requestID(r)})
}

func (s *site) logFailure(r *http.Request, p problem, err error) {
	if problemTexts[p].code >= http.StatusInternalServerError {
		s.log.Error("a consent page failed", "request_id", requestID(r), "route", r.Pattern, "reason", string(broker.ReasonOf(err)), "error", err)
	}
}

// problem shows a page that needs no more than its name.
func (s *site) problem(w http.ResponseWriter, r *http.Request, p problem, back string) {
	s.showProblem(w, r, p, problemDetails{back: back, reference: requestID(r)})
}

type problemDetails struct {
	message    string
	retryAfter time.Duration
	back       string
	reference  string
}

// defaultRetry is the Retry-After where the broker names none.
const defaultRetry = 10 * time.Second

func (s *site) showProblem(w http.ResponseWriter, r *http.Request, p problem, d problemDetails) {
	t := problemTexts[p]
	v := view{Tone: toneStop, Heading: t.heading, Lead: t.lead, Next: t.next, Detail: d.message, Reference: d.reference, Back: d.back}
	if p == problemUnavailable || p == problemBusy {
		if d.retryAfter <= 0 {
			d.retryAfter = defaultRetry
		}
		seconds := int((d.retryAfter + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		v.Tone = toneWait
		if r.Method == http.MethodPost {
			v.Next = []string{"Wait a moment, then go back and press the button again.", tellOperators}
		} else {
			v.Refresh = seconds
			v.Next = []string{"Leave this page open: it tries again by itself.", tellOperators}
		}
	}
	s.render(w, r, t.code, "problem", v)
}

var referenceForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

// leave redirects a failed callback to the page of its problem, so that code
// and state do not stay in the address bar and the history.
func (s *site) leave(w http.ResponseWriter, r *http.Request, p problem) {
	http.Redirect(w, r, "/problems/"+string(p)+"?ref="+requestID(r), http.StatusSeeOther)
}

// problemPage is where leave leads. Everything on it is fixed but the reference.
func (s *site) problemPage(w http.ResponseWriter, r *http.Request) {
	p := problem(r.PathValue("kind"))
	if !problemTexts[p].landing {
		s.problem(w, r, problemNotFound, "")
		return
	}
	ref := r.URL.Query().Get("ref")
	if !referenceForm.MatchString(ref) {
		ref = requestID(r)
	}
	s.showProblem(w, r, p, problemDetails{reference: ref})
}
