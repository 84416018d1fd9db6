package web

import (
	"net/http"

	"github.com/holdfast-io/holdfast/storage"
)

// A tone picks the mark and the colour beside a page's heading. The heading
// always says the same in words.
type tone string

const (
	toneAsk  tone = "ask"
	toneGood tone = "good"
	toneWait tone = "wait"
	toneNone tone = "none" // ended as the person wanted, nothing granted
	toneStop tone = "stop"
)

// statusPage is what a person reads about one status of a consent.
type statusPage struct {
	code    int
	tone    tone
	heading string
	lead    string
	// next says what to do, one step an entry.
	next []string
	// open: the consent can still change; its cookie must live on.
	open bool
	// refresh is the seconds after which the page loads itself again; 0: never.
	refresh int
}

const (
	askForNewLink = "Ask whoever sent you the link for a new one."
	mayClose      = "You can close this page."
)

// statusPages has an entry for every storage.ConsentStatus; a test holds the
// two lists together.
var statusPages = map[storage.ConsentStatus]statusPage{
	storage.ConsentPending: {
		code: http.StatusOK, tone: toneWait, open: true,
		heading: "Nothing has been granted yet",
		lead:    "The request is prepared, but nobody has continued to the provider.",
		next:    []string{"Open the link that you were sent and press Continue there."},
	},
	storage.ConsentAtProvider: {
		code: http.StatusOK, tone: toneWait, open: true,
		heading: "Waiting for your answer at the provider",
		lead:    "You were sent to the provider and have not come back from there. Nothing has been granted yet.",
		next: []string{
			"Finish in the tab that shows the provider's page.",
			"If that tab is gone, open the link that you were sent again.",
		},
	},
	storage.ConsentExchanging: {
		code: http.StatusAccepted, tone: toneWait, open: true, refresh: 2,
		heading: "Still working",
		lead:    "The provider sent you back, and the permission is being fetched from it now.",
		next:    []string{"Leave this page open: it refreshes itself every two seconds until the result is known."},
	},
	storage.ConsentConfirm: {
		code: http.StatusOK, tone: toneAsk, open: true,
		heading: "Confirm what would be lost",
		lead:    "The new permission covers less than the one in use now. Nothing has changed yet: you decide.",
	},
	storage.ConsentDone: {
		code: http.StatusOK, tone: toneGood,
		heading: "Permission granted",
		lead:    "The permission is stored. Services that your organisation has allowed can use it from now on.",
		next: []string{
			mayClose,
			"To end it later, disconnect the app in your account's settings at the provider, or ask your Holdfast operators to revoke it.",
		},
	},
	storage.ConsentDenied: {
		code: http.StatusForbidden, tone: toneNone,
		heading: "Nothing was granted",
		lead:    "The request was declined at the provider.",
		next: []string{
			"If that is what you wanted, there is nothing more to do. " + mayClose,
			"If it was a mistake, ask whoever sent you the link for a new one and accept at the provider.",
		},
	},
	storage.ConsentExpired: {
		code: http.StatusGone, tone: toneStop,
		heading: "The time for this consent has run out",
		lead:    "It was not finished in time, so nothing was granted.",
		next:    []string{askForNewLink + " It has to be finished soon after Continue is pressed."},
	},
	storage.ConsentNoOfflineAccess: {
		code: http.StatusUnprocessableEntity, tone: toneStop,
		heading: "The provider gave no lasting access",
		lead:    "Its answer had no refresh token, so the access would have ended by itself soon. Nothing was kept.",
		next: []string{
			"Tell your Holdfast operators: the app must be allowed to ask the provider for offline_access.",
			"After that, ask for a new link.",
		},
	},
	storage.ConsentWrongAccount: {
		code: http.StatusConflict, tone: toneStop,
		heading: "You were signed in with a different account",
		lead:    "This grant belongs to another account at the provider. It stays as it was, and the new permission was not kept.",
		next: []string{
			"Ask for a new link, and open it where you are signed in with the account that gave the permission first; a private window helps.",
			"If the grant should move to another account for good, ask your Holdfast operators.",
		},
	},
	storage.ConsentWrongProduct: {
		code: http.StatusUnprocessableEntity, tone: toneStop,
		heading: "The permission is for a different product",
		lead:    "What the provider gave does not fit the product that was asked for. It was not kept.",
		next: []string{
			"Ask for a new link, and choose a site that has the product named above.",
			"If it happens again, tell your Holdfast operators: the app may be set up for another product.",
		},
	},
	storage.ConsentMissingScopes: {
		code: http.StatusUnprocessableEntity, tone: toneStop,
		heading: "The permission covers too little",
		lead:    "The provider left out something that was asked for, so the services would have failed with it. It was not kept.",
		next: []string{
			"Tell your Holdfast operators: the app at the provider must have all the scopes that it asks for.",
			"After that, ask for a new link.",
		},
	},
	storage.ConsentCodeRefused: {
		code: http.StatusBadRequest, tone: toneStop,
		heading: "The provider no longer accepts this sign-in",
		lead:    "Its one-time code was too old or already used. Nothing was granted.",
		next:    []string{askForNewLink + " Finish without long pauses and without the browser's back button."},
	},
	storage.ConsentExchangeInDoubt: {
		code: http.StatusGatewayTimeout, tone: toneStop,
		heading: "It is unclear whether the provider finished",
		lead:    "The connection to the provider broke while the permission was being fetched. No permission was stored here, though the provider may list the app as connected.",
		next:    []string{"Ask whoever sent you the link for a new one. Consenting again is safe."},
	},
	storage.ConsentProviderError: {
		code: http.StatusBadGateway, tone: toneStop,
		heading: "The provider could not complete the consent",
		lead:    "It answered with an error of its own. Nothing was granted.",
		next: []string{
			"Wait a few minutes, then ask for a new link.",
			tellOperators,
		},
	},
	storage.ConsentMisconfigured: {
		code: http.StatusInternalServerError, tone: toneStop,
		heading: "The app is not set up correctly",
		lead:    "The provider rejected the app itself. You did nothing wrong, and nothing was granted.",
		next: []string{
			"Tell your Holdfast operators, with the reference below: the app's client id, secret or callback address does not match the provider's.",
			"After that, ask for a new link.",
		},
	},
	storage.ConsentDiscarded: {
		code: http.StatusOK, tone: toneNone,
		heading: "The new permission was discarded",
		lead:    "As you chose, the permission that was in use before stays as it was.",
		next:    []string{mayClose},
	},
	storage.ConsentSuperseded: {
		code: http.StatusConflict, tone: toneStop,
		heading: "The grant changed in the meantime",
		lead:    "Another consent or an operator changed it while this one was open. This one was not used.",
		next: []string{
			"Ask whoever sent you the link whether it is still needed.",
			"If it is, ask for a new link.",
		},
	},
}
