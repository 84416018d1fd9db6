package mutants

// mutant is one way to break an invariant of the design (section 3). The old
// text must stand in the file exactly once.
type mutant struct {
	invariant      int
	name           string
	file, old, new string
}

// provenMutant is one that a test of its own finds out, in package in.
type provenMutant struct {
	mutant
	in, test string
}

const (
	attempt  = "broker/family/attempt.go"
	plan     = "broker/family/plan.go"
	refusal  = "broker/family/refusal.go"
	refresh  = "broker/refresh.go"
	settle   = "broker/settle.go"
	due      = "broker/due.go"
	apps     = "broker/apps.go"
	classify = "broker/atlassian/classify.go"
	clock    = "broker/clock.go"
	hot      = "broker/hot.go"
	secrets  = "secret/secret.go"

	families = "./broker/family"
	brokers  = "./broker"
)

var table = []mutant{
	{1, "spends though the announcement was not stored", refresh,
		"return g, sp, sendBefore, swapError(g.Address, err)", "return g, sp, sendBefore, nil"},
	{1, "serves the successor before it is durable", settle,
		"next, err = b.swap(ctx, next, events)",
		"next.Version++; b.hot.publish(next, b.now()); next.Version--; next, err = b.swap(ctx, next, events)"},
	{2, "takes every lease for ended", plan,
		"a != nil && !now.Before(a.LeaseUntil)", "a != nil"},
	{3, "sends without asking the guard", refresh,
		"if local, now := b.clock.both(); !local.Before(sendBefore) || !now.Before(sp.SendBefore) {", "if false {"},
	{4, "takes a 5xx for a token unspent", classify,
		"Class: family.InDoubt, Code: doubtWord(r)", "Class: family.Transient, Code: doubtWord(r)"},
	{5, "leaves repeats to the callers", due,
		"if b.attemptIsDue(&page[i], now) {", "if false {"},
	{5, "lets a repeat begin the leeway anew", attempt,
		"doubt.Repeats++", "doubt.Repeats++; doubt.FirstAnnounced = now"},
	{6, "makes a last try whatever it may cost", plan,
		"if n.LastTryAllowed || n.Force {", "if true {"},
	{7, "goes on with the token that was spent", attempt,
		"s.Refresh = o.Pair.Refresh", "_ = o.Pair.Refresh"},
	{8, "settles without the fence", attempt,
		"a == nil || a.Fence != sp.Fence || a.ID != sp.AttemptID", "a == nil"},
	{8, "drops a successor that came late", attempt,
		"if o.Class != Settled || o.Pair", "if o.Class == Settled || o.Pair"},
	{9, "takes a swap of unknown outcome for its own", refresh,
		"if rerr == nil && fresh.State.Attempt != nil && fresh.State.Attempt.ID == sp.AttemptID {", "if rerr == nil {"},
	{11, "rotates while the access token is fresh", plan,
		"!now.Before(s.AheadFrom(t.RefreshAhead))", "true"},
	{12, "believes the first refusal", refusal,
		"suspicion.Refusals >= 2 && now.Sub(suspicion.First) >= t.ConfirmDelay", "true"},
	{13, "serves past first announcement and access grace", plan,
		"cut.Before(until)", "cut.Before(until) && false"},
	{14, "keeps a successor of the family that was replaced", attempt,
		"sp.FamilyFirst != s.FamilyFirst", "false"},
	{17, "writes the token that it sends into an event", attempt,
		"s.event(EventAnnounced, now, d.Kind.String())", "s.event(EventAnnounced, now, sp.Token.Reveal())"},
}

// proven are those that the simulation cannot find out: it has no wave that lasts
// to a second refusal, no store that is copied, no clock behind its own past, and
// nobody revokes there. That nothing of a secret leaves the real process is proven
// in e2e/leaks, with taps before the provider and behind everything that is written.
var proven = []provenMutant{
	{mutant{6, "drops a token in doubt that gives way to its sibling", plan,
		"Reserve{Refresh: s.Refresh, Doubt: *s.Doubt})", "Reserve{})[:0]"},
		families, "TestATokenInDoubtComesBackWhenItsSiblingIsRefused"},
	{mutant{6, "takes a settlement that was stored late for a provider that is well now", apps,
		"lastSettled{grant, began}", "lastSettled{grant, now}"},
		brokers, "TestALastTryNeedsAnotherGrantToVouchForTheProvider"},
	{mutant{6, "makes a last try on a decision of long ago", refresh,
		"b.stillAllowed(ctx, &g, need)", "need"},
		brokers, "TestALastTryNeedsAnotherGrantToVouchForTheProvider"},
	{mutant{6, "sends a last try though a family has come alive since it was decided", refresh,
		"|| b.aloneAtRisk(ctx, &g) {", "|| true {"},
		brokers, "TestALastTryNeedsAnotherGrantToVouchForTheProvider"},
	{mutant{7, "sends a token anew that a late answer returned", attempt,
		"if o.Pair.Refresh.Equal(sp.Token) {", "if false {"},
		families, "TestALateAnswerThatReturnsTheTokenInUseMakesItNoSuccessor"},
	{mutant{10, "spends though the store cannot be written", settle,
		"err := b.store.Health(ctx)", "var err error"},
		brokers, "TestNothingIsSpentWhenTheStoreCanNotBeWritten"},
	{mutant{12, "believes refusals while verdicts are held", refusal,
		"o.VerdictHeld = o.VerdictHeld && !s.Suspicion.heldEnough()", "o.VerdictHeld = false"},
		brokers, "TestAWaveOfRefusalsLapsesNobody"},
	{mutant{15, "spends what may be a copy", plan,
		"case s.Phase == Quarantined:", "case false:"},
		brokers, "TestAQuarantinedStoreServesWhatIsValidAndSpendsNothing"},
	{mutant{15, "spends behind the clock's high-water mark", clock,
		"if d == 0 {", "if true {"},
		brokers, "TestBehindTheStoresNewestTimeNothingIsSpent"},
	{mutant{16, "lets a slow reader bring back what was revoked", hot,
		"if old.grant.Version >= g.Version {", "if false {"},
		brokers, "TestASlowReaderOfAnOldRecordCanNotBringBackWhatWasRevoked"},
	{mutant{17, "shows a secret's text", secrets,
		"func (s String) String() string { return redacted }", "func (s String) String() string { return s.Reveal() }"},
		"./secret", "TestEveryFormatterRedacts"},
}
