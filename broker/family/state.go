package family

import (
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// Phase is where a grant's family stands. The numbers are stored: never reuse one.
type Phase int

const (
	// Active families may be refreshed.
	Active Phase = 1
	// Suspected families were refused by the provider; the verdict is pending.
	Suspected Phase = 2
	// Lapsed families were ended by the provider: a new consent is required.
	Lapsed Phase = 3
	// Quarantined families may be copies: nothing is spent until an operator decides.
	Quarantined Phase = 4
	// Revoked families were ended by an operator: terminal for the family.
	Revoked Phase = 5
)

// String returns the lower-case name that logs, metrics and the CLI show.
func (p Phase) String() string {
	names := [...]string{"unspecified", "active", "suspected", "lapsed", "quarantined", "revoked"}
	if p < 0 || int(p) >= len(names) {
		return "unknown"
	}
	return names[p]
}

// Access is the newest settled access token.
type Access struct {
	Token secret.String
	// ExpiresAt counts from the start of the attempt that got it, so that it
	// errs on the early side.
	ExpiresAt time.Time
	// Scopes as the provider returned them.
	Scopes []string
	// Rejected is set once the broker itself saw the provider refuse the token.
	Rejected bool
}

// Attempt is the announced attempt that holds the grant's lease.
type Attempt struct {
	// ID is random; it is how an unknown swap recognises itself.
	ID string
	// Fence only grows per grant; settling needs it.
	Fence uint64
	// Generation of the token being spent.
	Generation uint64
	Kind       AttemptKind
	// FirstAnnounced is when this generation was announced for the first time.
	// Repeats never reset it: the leeway counts from here.
	FirstAnnounced time.Time
	Announced      time.Time
	LeaseUntil     time.Time
}

// Doubt records that the current generation may have been spent without its
// successor being known.
type Doubt struct {
	Generation     uint64
	FirstAnnounced time.Time
	// Repeats counts the repeats announced so far.
	Repeats int
	// LastTry is when the last try after the leeway was announced; zero: not
	// yet. If the token was still unspent then, a leeway of its own begins there.
	LastTry time.Time
}

// Alternate is a successor that came too late to settle.
type Alternate struct {
	Generation uint64
	Refresh    secret.String
	Access     Access
	At         time.Time
}

// Reserve is a token in doubt that gave way to a sibling. Had it never been
// spent, it may be the one that the provider lets live: it comes back, with its
// doubt, when the siblings are refused.
type Reserve struct {
	Refresh secret.String
	// Doubt as it stood; its generation is the state's.
	Doubt Doubt
}

// Suspicion collects refusals until there is a verdict.
type Suspicion struct {
	// Refusals that count, since verdicts were last held; First is the first of them.
	Refusals int
	First    time.Time
	// Last refusal, or question, of either sort.
	Last time.Time
	// Code is the row of the profile's table, never the provider's free text.
	Code string
	// Held counts the refusals in a row while verdicts were held: they prove nothing.
	Held int
	// AskedAgain: the family had lapsed before, and an operator had the provider
	// asked once more. Such refusals say nothing about the provider's health.
	AskedAgain bool
}

// LapseReason says why the provider's end of a family is believed. Stored as text.
type LapseReason string

// The reasons of a lapse.
const (
	LapseNone          LapseReason = ""
	LapseRefused       LapseReason = "REFUSED"          // refused, confirmed after a delay
	LapseLostInDoubt   LapseReason = "LOST_IN_DOUBT"    // an answer was lost and could not be recovered
	LapseOfflineAccess LapseReason = "NO_REFRESH_TOKEN" // the provider gave no refresh token
	LapseScrubbed      LapseReason = "SCRUBBED"         // an operator said that the store is a copy
)

// State is all that is durably known about the family of one grant. It is a
// value: transitions return a new one and never change the one they were given.
type State struct {
	Phase Phase
	// Generation counts settled rotations of the grant and never restarts.
	Generation uint64
	// FamilyFirst is the generation at which this family began.
	FamilyFirst uint64
	// FamilyStarted is the time of its consent (absolute age).
	FamilyStarted time.Time
	// LastExchange is the last settled exchange at the token endpoint (inactivity).
	LastExchange time.Time
	// Refresh is the refresh token of Generation.
	Refresh secret.String
	Access  Access
	// Fence of the newest attempt ever begun.
	Fence      uint64
	Attempt    *Attempt
	Doubt      *Doubt
	Alternates []Alternate
	// Reserves are at most two, the newest last.
	Reserves  []Reserve
	Suspicion *Suspicion
	// NotBefore holds back the next attempt after a failure.
	NotBefore time.Time
	// Failures counts attempts since the last settlement that did not settle.
	Failures int
	Lapse    LapseReason
	EndedAt  time.Time
	// WarnedIdle and WarnedAbsolute are the least days before a deadline that
	// was warned of; 0: none was.
	WarnedIdle, WarnedAbsolute int
	Inquiry                    *Inquiry
	// Former access tokens, those that may still be alive among them.
	Former []Former
}

// Inquiry looks into a refusal that nothing explains: an access token that is
// accepted after it and dies within the access grace says that somebody else
// spent the refresh token.
type Inquiry struct {
	RefusedAt time.Time
	// Next is when the access token is looked at next, Until when that ends.
	Next, Until time.Time
	// Accepted: the provider accepted the access token after the refusal.
	Accepted bool
}

// AttemptKind says what an attempt is. The numbers are stored.
type AttemptKind int

const (
	// First attempt of a generation.
	First AttemptKind = 1
	// Repeat of an in-doubt attempt inside the leeway, with the same token.
	Repeat AttemptKind = 2
	// LastTry after the leeway, since nothing is left to lose.
	LastTry AttemptKind = 3
)

// String returns the name that logs and metrics show.
func (k AttemptKind) String() string {
	names := [...]string{"unspecified", "first", "repeat", "last_try"}
	if k < 0 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// Class is what an answer, or its absence, says about the token that was sent.
type Class int

const (
	// Settled: a parsed pair.
	Settled Class = 1
	// NotSpent: nothing of the request was written.
	NotSpent Class = 2
	// InDoubt: the request was written, and nothing that came back is listed.
	InDoubt Class = 3
	// Refused: an error that the profile lists as a refusal of the token.
	Refused Class = 4
	// Misconfigured: an error that the profile lists as the app's, not the family's.
	Misconfigured Class = 5
	// Transient: an error that the profile lists as "later", token unspent.
	Transient Class = 6
)

// String returns the name that logs and metrics show.
func (c Class) String() string {
	names := [...]string{"unspecified", "settled", "not_spent", "in_doubt", "refused", "misconfigured", "transient"}
	if c < 0 || int(c) >= len(names) {
		return "unknown"
	}
	return names[c]
}

// Pair is what a successful exchange returned.
type Pair struct {
	// Refresh may be empty: then the old refresh token stays the current one.
	Refresh secret.String
	Access  secret.String
	// ExpiresIn is the access token's life in seconds resolution, > 0.
	ExpiresIn time.Duration
	Scopes    []string
}

// Outcome of one spend.
type Outcome struct {
	Class Class
	// Pair is set if and only if Class is Settled.
	Pair Pair
	// Code is the row of the profile's error table or a short fixed word
	// ("timeout", "http_502"): never text from the provider's body.
	Code string
	// RetryAfter is the provider's wish; 0 if it named none.
	RetryAfter time.Duration
	// VerdictHeld: so many families of the app are refused at once that a
	// refusal proves nothing about this one. The broker sets it.
	VerdictHeld bool
}

// EventType names a journal entry. Stored as text.
type EventType string

// The journal's entries.
const (
	EventConsented         EventType = "CONSENTED"
	EventAnnounced         EventType = "ANNOUNCED"
	EventSettled           EventType = "SETTLED"
	EventNotSpent          EventType = "NOT_SPENT"
	EventInDoubt           EventType = "IN_DOUBT"
	EventRefused           EventType = "REFUSED"
	EventMisconfigured     EventType = "MISCONFIGURED"
	EventTransient         EventType = "TRANSIENT"
	EventAlternateKept     EventType = "ALTERNATE_KEPT"
	EventAlternatePromoted EventType = "ALTERNATE_PROMOTED"
	EventScopesChanged     EventType = "SCOPES_CHANGED"
	EventSitesChanged      EventType = "SITES_CHANGED"
	EventRejected          EventType = "ACCESS_REJECTED"
	EventLapsed            EventType = "LAPSED"
	EventRevoked           EventType = "REVOKED"
	EventQuarantined       EventType = "QUARANTINED"
	EventReauthStarted     EventType = "REAUTH_STARTED"
	EventDeadlineNear      EventType = "DEADLINE_NEAR"
	EventVerdictHeld       EventType = "VERDICT_HELD"
	EventUnexplained       EventType = "UNEXPLAINED_REFUSAL"
	EventForeignUse        EventType = "FOREIGN_USE"
	EventInterference      EventType = "INTERFERENCE"
	EventAdopted           EventType = "ADOPTED"
	EventScrubbed          EventType = "SCRUBBED"
	EventAskedAgain        EventType = "ASKED_AGAIN"
	EventRestored          EventType = "RESTORED"
)

// Event is one journal entry of a grant. It never holds a secret.
type Event struct {
	Type       EventType
	At         time.Time
	Generation uint64
	Fence      uint64
	AttemptID  string
	// Detail is a short fixed word or list of words, e.g. an outcome's Code.
	Detail string
}
