package chaos

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// How long after its trouble a replica may still make use of what excuses it:
// connections and calls of that time must first come to their ends.
const (
	processHeals  = 3 * time.Second
	databaseHeals = 5 * time.Second
)

// freshFor is how old what a replica answers by may be while it reaches the database.
const freshFor = time.Second

// Judge says what became of a run, by the provider's ledger and the callers' history.
type Judge struct {
	c      *Cluster
	l      *Load
	ledger atlassiansim.Ledger
	ops    []Op
	// grants by the provider's name of a family that a caller had a token of.
	grants map[string]int
	Verdict
}

// Verdict is what the judge found.
type Verdict struct {
	// Findings are sentences about all that is wrong; none: the promise was kept.
	Findings []string
	// Rotations at the provider, and Repeats: spent tokens that were sent again.
	Rotations, Repeats int
	// Announced attempts, and Draws that were answered with a token.
	Announced, Draws int
	// Excused are the tokens that a replica in trouble handed out, which may be as
	// old as the access grace.
	Excused int
	// Calm are the draws of grants that nobody revokes through replicas that had no
	// trouble, of which CalmServed were answered with a token.
	Calm, CalmServed int
	// Reasons of the calls that failed, by verb.
	Reasons map[string]int
}

// Judge looks at a run that has ended, whose load was stopped and whose journals were read.
func (c *Cluster) Judge(l *Load) *Judge {
	c.t.Helper()
	j := &Judge{c: c, l: l, ledger: c.Sim.Ledger(c.t), ops: l.History.Ops(), grants: map[string]int{}}
	j.Reasons = map[string]int{}
	for _, o := range j.ops {
		j.count(&o)
	}
	j.judgeLedger()
	j.judgeSpends()
	j.judgeTokens()
	j.judgeOrder()
	j.judgeErrors()
	return j
}

// count takes a call into the figures.
func (j *Judge) count(o *Op) {
	excused := j.bound(o) > freshFor
	if o.Served() {
		j.grants[o.Token.Family] = o.Grant
		j.Draws++
		if excused {
			j.Excused++
		}
	}
	if o.Verb == Draw && !excused && !j.l.Grants[o.Grant].Revoked {
		j.Calm++
		if o.Served() {
			j.CalmServed++
		}
	}
}

func (j *Judge) find(format string, args ...any) {
	j.Findings = append(j.Findings, fmt.Sprintf(format, args...))
}

// judgeLedger: nobody lost a family, and no token went out that the provider would not forgive.
func (j *Judge) judgeLedger() {
	newest := map[[2]string]atlassiansim.FamilyEntry{}
	for _, f := range j.ledger.Families {
		k := [2]string{f.AccountID, f.ClientID}
		if n, ok := newest[k]; !ok || f.ConsentedAt.After(n.ConsentedAt) {
			newest[k] = f
		}
	}
	for _, f := range j.ledger.LostFamilies() {
		g, ok := j.grants[f.ID]
		if ok && j.l.Grants[g].Revoked && newest[[2]string{f.AccountID, f.ClientID}].ID != f.ID {
			continue // it was revoked, and nobody has to keep it
		}
		j.find("lost: %s of %s ended %q, stranded %t", f.ID, j.name(f.ID), f.EndedWhy, f.Stranded)
	}
	for _, e := range j.ledger.LateReuses() {
		j.find("late: request %d sent %s after its leeway", e.Request, e.Token)
	}
	for _, e := range j.ledger.OldReuses() {
		j.find("old: request %d at %v sent %s, older than the previous one", e.Request, e.At.Sub(j.c.Began), e.Token)
	}
}

// name of the grant that a family belongs to.
func (j *Judge) name(family string) string {
	if g, ok := j.grants[family]; ok {
		return j.l.Grants[g].String()
	}
	return "a grant that nobody drew"
}

// judgeSpends: each spend was announced, once, and left while its lease held.
func (j *Judge) judgeSpends() {
	sends := map[int][]atlassiansim.Exchange{}
	for _, f := range j.ledger.Families {
		g, known := j.grants[f.ID]
		for _, e := range f.Exchanges {
			if e.GrantType != "refresh_token" {
				continue
			}
			if e.Outcome == atlassiansim.OutcomeRotated {
				j.Rotations++
			}
			if e.Reuse != "" {
				j.Repeats++
			}
			if !known {
				j.find("request %d spent %s of %s", e.Request, e.Token, j.name(f.ID))
				continue
			}
			sends[g] = append(sends[g], e)
		}
	}
	for g, list := range sends {
		slices.SortFunc(list, func(a, b atlassiansim.Exchange) int { return a.At.Compare(b.At) })
		announced := j.l.History.Announced(g)
		j.Announced += len(announced)
		for _, e := range unannounced(list, announced) {
			j.find("double: request %d at %v spent %s of %s (reuse %q) and no announced attempt is left for it; %d were announced",
				e.Request, e.At.Sub(j.c.Began), e.Token, j.l.Grants[g], e.Reuse, len(announced))
		}
	}
}

// clocksDiffer is how far the times of a journal and of the ledger may be apart: the
// replicas take theirs from the database, over slow connections.
const clocksDiffer = time.Second

// unannounced returns the spends of a grant for which no announced attempt is left,
// each of which covers one spend while its lease holds. Both are in order of time.
func unannounced(sends []atlassiansim.Exchange, announced []Announced) (left []atlassiansim.Exchange) {
	for _, e := range sends {
		for len(announced) > 0 && e.At.After(announced[0].At.Add(Lease+clocksDiffer)) {
			announced = announced[1:] // it was never spent: its replica died, or nothing could be written
		}
		if len(announced) == 0 || e.At.Before(announced[0].At.Add(-clocksDiffer)) {
			left = append(left, e)
			continue
		}
		announced = announced[1:]
	}
	return left
}

// judgeTokens: one generation is one token, and none was handed out that was dead
// when it was asked for.
func (j *Judge) judgeTokens() {
	type generation struct {
		grant int
		n     uint64
	}
	of := map[generation]Op{}
	dead := j.deaths()
	for _, o := range j.ops {
		if !o.Served() {
			continue
		}
		k := generation{o.Grant, o.Generation}
		if before, ok := of[k]; !ok {
			of[k] = o
		} else if before.Token.Sum != o.Token.Sum {
			j.find("torn: two tokens of generation %d of %s: replica %d handed out %s at %v, replica %d %s at %v", o.Generation, j.l.Grants[o.Grant],
				before.Replica, before.Token.ID, before.Return, o.Replica, o.Token.ID, o.Return)
			of[k] = o
		}
		if end, ok := dead[o.Token.ID]; ok && o.Call > end {
			j.find("dead: replica %d handed out %s of generation %d of %s to a call of %v; the provider had ceased to take it at %v",
				o.Replica, o.Token.ID, o.Generation, j.l.Grants[o.Grant], o.Call, end)
		}
	}
}

// deaths is when the provider ceases to take each access token: at the end of its
// life, or an access grace after its refresh token was spent.
func (j *Judge) deaths() map[string]time.Duration {
	dead := map[string]time.Duration{}
	for _, f := range j.ledger.Families {
		access := map[string]string{} // by the refresh token that came with it
		for _, e := range f.Exchanges {
			at := e.At.Sub(j.c.Began)
			if id, ok := access[e.Token]; ok && e.NewAccess != "" && e.Reuse == "" {
				dead[id] = min(dead[id], at+AccessGrace)
			}
			if e.NewAccess != "" {
				access[e.NewRefresh] = e.NewAccess
				dead[e.NewAccess] = at + AccessLife
			}
		}
	}
	return dead
}

// judgeOrder: each grant's history has an order that explains all answers.
func (j *Judge) judgeOrder() {
	for n, g := range j.l.Grants {
		var ops []Op
		by := map[int][]Op{}
		for _, o := range j.ops {
			if o.Grant == n {
				ops = append(ops, o)
				by[o.Replica] = append(by[o.Replica], o)
			}
		}
		for _, r := range slices.Sorted(maps.Keys(by)) {
			j.Findings = append(j.Findings, backwards(by[r])...)
		}
		result, info := linearize(ops, j.bound)
		if result == porcupine.Ok {
			continue
		}
		picture := filepath.Join(j.c.Logs, fmt.Sprintf("history-%d.html", n))
		if err := porcupine.VisualizePath(model, info, picture); err != nil {
			picture = err.Error()
		}
		if result == porcupine.Unknown {
			j.find("undecided: no order of the history of %s was found within %v; see %s", g, modelPatience, picture)
			continue
		}
		j.find("order: no order of the history of %s explains what callers got; see %s", g, picture)
	}
}

// bound is how old what an answer was made of may have been.
func (j *Judge) bound(o *Op) time.Duration {
	if troubled, _ := j.c.Replicas[o.Replica].excuse(o.Call, o.Return, databaseHeals); troubled {
		return StaleFor
	}
	return freshFor
}

// Write leaves the history, for people.
func (j *Judge) Write() {
	var text strings.Builder
	for _, o := range j.ops {
		fmt.Fprintf(&text, "%9.3f %9.3f replica %d %s %s generation=%d token=%s family=%s %s %s %s\n", o.Call.Seconds(), o.Return.Seconds(), o.Replica,
			o.Verb, j.l.Grants[o.Grant], o.Generation, o.Token.ID, o.Token.Family, o.Code, o.Reason, o.Message)
	}
	_ = os.WriteFile(filepath.Join(j.c.Logs, "history.txt"), []byte(text.String()), 0o600) // it explains a failure that is told anyway
}
