package mutants

// mutant is one way to break an invariant of the design (section 3). The old
// text must stand in the file exactly once.
type mutant struct {
	invariant      int
	name           string
	file, old, new string
}

const (
	attempt  = "broker/family/attempt.go"
	plan     = "broker/family/plan.go"
	refusal  = "broker/family/refusal.go"
	refresh  = "broker/refresh.go"
	settle   = "broker/settle.go"
	due      = "broker/due.go"
	classify = "broker/atlassian/classify.go"
)

var table = []mutant{
	{1, "spends though the announcement was not stored", refresh,
		"return g, sp, swapError(g.Address, err)", "return g, sp, nil"},
	{1, "serves the successor before it is durable", settle,
		"next, err = b.swap(ctx, next, events)",
		"next.Version++; b.hot.publish(next, b.now()); next.Version--; next, err = b.swap(ctx, next, events)"},
	{2, "takes every lease for ended", plan,
		"a != nil && !now.Before(a.LeaseUntil)", "a != nil"},
	{3, "sends without asking the guard", refresh,
		"if !b.now().Before(sp.SendBefore) {", "if false {"},
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
		"!s.Access.ExpiresAt.After(now.Add(t.RefreshAhead))", "true"},
	{12, "believes the first refusal", refusal,
		"suspicion.Refusals >= 2 && now.Sub(suspicion.First) >= t.ConfirmDelay", "true"},
	{13, "serves past first announcement and access grace", plan,
		"cut.Before(until)", "cut.Before(until) && false"},
	{14, "keeps a successor of the family that was replaced", attempt,
		"sp.FamilyFirst != s.FamilyFirst", "false"},
}
