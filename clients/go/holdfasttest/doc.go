// Package holdfasttest is a broker for the unit tests of programs that use the client:
// it hands out tokens over an in-memory connection, and rotates, refuses and expires them
// as it is told. It needs no network and no files, and works under testing/synctest.
//
//	func TestSync(t *testing.T) {
//		broker := holdfasttest.New(t)
//		jira := httptest.NewServer(broker.API(fakeJira))
//		defer jira.Close()
//		broker.SetAPIBase("acme/automation/jira", jira.URL)
//
//		app := NewApp(broker.Client(), ...)
//		broker.Expire("acme/automation/jira") // the app must not notice
//		broker.Refuse("acme/automation/jira", &holdfast.Error{Reason: holdfast.ConsentRequired, Link: "https://..."})
//		...
//	}
//
// It is a fake with the behaviour that a client sees, and knows nothing of consents,
// policies or a provider: for those run `holdfast dev`.
package holdfasttest
