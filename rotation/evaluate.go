package rotation

import (
	"fmt"
	"slices"
	"time"
)

// Evaluate decides which points of the catalogue are kept under the policy, and which may go.
//
// A point may go only if every one of these holds, for this policy and for those that still bind by their ratchets: it
// is older than the age of each tier that it has a bucket of, and enough newer buckets have a verified point; no floor,
// hold, legal lock or promise keeps it; no point that stays requires it; it is not in quarantine; a rule names its
// lineage and the lineage meets its floors; the clock is usable; and the budget has room.
//
// A point is in quarantine when its own claims cannot be true: from the future, or from further back than the policy's
// Lag. It is kept and shown, counts nowhere and moves no cut-off, until a person has looked at it and cleared its
// Claimed and Day.
//
// Whatever is added to a catalogue, the points that were there keep their buckets and the days up to which their ages
// keep them. Newer verified points of later buckets may only use up counts.
//
// The same arguments give the same plan. Once it has been carried out ([Catalogue.After]), Evaluate with the same verdict
// releases nothing.
func Evaluate(p Policy, c Catalogue, v TimeVerdict) (Plan, error) {
	return evaluate(p, c, v, options{bound: true})
}

type options struct {
	bound  bool   // by earlier policies and budgets; otherwise only the policy itself is looked at
	keeper Keeper // decides instead of the policy's rules
}

func evaluate(p Policy, c Catalogue, v TimeVerdict, o options) (Plan, error) {
	if err := p.Validate(); err != nil {
		return Plan{}, err
	}
	c, err := c.normal()
	if err != nil {
		return Plan{}, fmt.Errorf("catalogue: %w", err)
	}
	v.Now = moment(v.Now)
	v.Usable = v.Usable && !v.Now.IsZero()
	e := &evaluation{c: c, v: v, now: v.Now, byID: make(map[PointID]int, len(c.Points))}
	if !v.Usable {
		// Nothing will go; ages are shown as of the last time that is known to have passed.
		e.now = c.HighWater(p.Time)
	}
	for i, pt := range c.Points {
		e.byID[pt.ID] = i
	}
	e.look(p, time.Time{}, o.keeper)
	if o.bound {
		e.lookBack(p)
	}
	e.keeps = make([][]Reason, len(c.Points))
	for i := range c.Points {
		e.gather(i)
	}
	e.closeOver()
	if o.bound {
		e.spend()
	}
	return e.plan(p), nil
}

type evaluation struct {
	c    Catalogue
	v    TimeVerdict
	now  time.Time
	byID map[PointID]int
	// views are what each policy that binds says, that of the current policy first.
	views []*view
	keeps [][]Reason // of each point
	notes []Note
}

// gather collects why a point stays, but for what depends on other points.
func (e *evaluation) gather(i int) {
	pt, w := e.c.Points[i], e.views[0]
	day, z := w.days[i], w.policy.Zone
	keep := func(r Reason) { e.keeps[i] = append(e.keeps[i], r) }
	if !e.v.Usable {
		keep(Reason{Code: CodeClock, Rule: "time", Text: "no clock can be believed: nothing goes"})
	}
	for _, r := range w.keeps[i] {
		keep(r)
	}
	for _, old := range e.views[1:] {
		e.ratchet(i, old)
	}
	for _, h := range e.c.Holds {
		if h.Stands() && h.Covers(pt, day) {
			keep(Reason{Code: CodeHold, Text: fmt.Sprintf("hold %s, placed %s", h.ID, z.BusinessDay(h.Placed))})
		}
	}
	for _, id := range pt.Holds {
		if !slices.ContainsFunc(e.c.Holds, func(h Hold) bool { return h.ID == id }) {
			keep(Reason{Code: CodeHold, Text: fmt.Sprintf("hold %s, of which nothing is known", id)})
		}
	}
	for _, c := range pt.Copies {
		if end := firstDayAfter(z, c.LockedUntil); w.today.Before(end) {
			keep(Reason{Code: CodeLock, Text: "a copy is locked", Until: end})
		}
	}
	if end := firstDayAfter(z, pt.Promise); w.today.Before(end) {
		keep(Reason{Code: CodePromise, Text: "promised", Until: end})
	}
	for _, w := range e.views {
		if why := w.quarantine[i]; why != "" {
			keep(Reason{Code: CodeQuarantine, Text: why})
			break
		}
	}
	if w.rule[i] < 0 {
		keep(Reason{Code: CodeNoRule, Text: "no rule of the policy names its lineage"})
	}
	if len(e.keeps[i]) == 0 {
		e.keeps[i] = append(e.keeps[i], w.suspended[pt.Lineage]...)
	}
}

// firstDayAfter is the first business day that has not begun before t; zero for the zero time.
func firstDayAfter(z Zone, t time.Time) Day {
	if t.IsZero() {
		return Day{}
	}
	d := z.BusinessDay(t)
	if z.begin(d).Before(t) {
		d = d.AddDays(1)
	}
	return d
}

// closeOver keeps what points that stay require, and what those require.
func (e *evaluation) closeOver() {
	var todo []int
	for i, rs := range e.keeps {
		if len(rs) > 0 {
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, id := range e.c.Points[i].Requires {
			j, ok := e.byID[id]
			if !ok {
				continue
			}
			if len(e.keeps[j]) == 0 {
				todo = append(todo, j)
			}
			if !slices.ContainsFunc(e.keeps[j], func(r Reason) bool { return r.Code == CodeDependent }) {
				e.keeps[j] = append(e.keeps[j], Reason{Code: CodeDependent, Text: "a point that stays requires it"})
			}
		}
	}
}

// plan puts the result together.
func (e *evaluation) plan(p Policy) Plan {
	w := e.views[0]
	out := Plan{
		Format: 1, Repository: e.c.Repository, Head: e.c.Head, Policy: p.Digest(), Catalogue: digest("catalogue", e.c),
		Zone: p.Zone, ZoneRules: p.Zone.Rules(), Time: e.v, Verdicts: make([]Verdict, 0, len(e.c.Points)),
	}
	for i, pt := range e.c.Points {
		v := Verdict{
			Point: pt.ID, Lineage: pt.Lineage, Seq: pt.Seq, Day: w.days[i], Observed: pt.Observed, Verified: pt.Verified,
			Bytes: pt.Bytes, Copies: pt.Copies, Release: len(e.keeps[i]) == 0, Reasons: e.keeps[i],
		}
		if v.Release {
			v.Reasons = w.gone[i]
		}
		for _, r := range v.Reasons {
			if r.Until.After(v.Earliest) {
				v.Earliest = r.Until
			}
		}
		out.Verdicts = append(out.Verdicts, v)
		if g := e.grant(i); e.v.Usable && !v.Release && (len(g.Buckets) > 0 || !g.Promise.IsZero()) {
			out.Grants = append(out.Grants, g)
		}
	}
	out.Notes = e.note(p)
	return out
}

// grant returns what a point is given that is not recorded with it yet.
func (e *evaluation) grant(i int) Grant {
	pt, w := e.c.Points[i], e.views[0]
	g := Grant{Point: pt.ID}
	for _, w := range e.views { // also what a policy gives that binds by its ratchet alone
		for _, name := range w.granted[i] {
			if !slices.Contains(pt.Promoted, name) && !slices.Contains(g.Buckets, name) {
				g.Buckets = append(g.Buckets, name)
			}
		}
	}
	if !w.policy.Promise.IsZero() && !w.promised[i].IsZero() {
		end := until(w.policy.Promise, w.days[i])
		if w.promised[i].Before(end) {
			end = w.promised[i]
		}
		if t := moment(w.policy.Zone.begin(end)); t.After(pt.Promise) {
			g.Promise = t
		}
	}
	return g
}

// note lists what somebody should look at.
func (e *evaluation) note(p Policy) []Note {
	w := e.views[0]
	notes := slices.Clone(w.notes)
	for _, r := range e.v.Reasons {
		notes = append(notes, Note{Code: CodeClock, Rule: r.Rule, Text: r.Text})
	}
	notes = append(notes, e.notes...)
	count := func(code, text string, is func(i int) bool) {
		n := 0
		for i := range e.c.Points {
			if is(i) {
				n++
			}
		}
		if n > 0 {
			notes = append(notes, Note{Code: code, Text: text, Points: n})
		}
	}
	count(CodeQuarantine, "points whose claims cannot be true: look at them", func(i int) bool { return w.quarantine[i] != "" })
	count(CodeNoRule, "points of lineages that no rule names are all kept", func(i int) bool { return w.rule[i] < 0 })
	count(CodeUnclaimed, "points wait to be verified", func(i int) bool {
		return slices.ContainsFunc(w.keeps[i], func(r Reason) bool { return r.Code == CodeUnclaimed })
	})
	locked := func(i int, is func(c Copy) bool) bool { return slices.ContainsFunc(e.c.Points[i].Copies, is) }
	count(CodeLongLock, "points with a copy that is locked for longer than maxLock: a clock was wrong, or somebody locked it",
		func(i int) bool {
			longest := w.policy.Zone.begin(until(p.maxLock(), w.today)).Add(24 * time.Hour)
			return len(p.Rules) > 0 && locked(i, func(c Copy) bool { return c.LockedUntil.After(longest) })
		})
	count(CodeShortLock, "points with a copy whose lock ends before what was promised", func(i int) bool {
		return locked(i, func(c Copy) bool { return !c.LockedUntil.IsZero() && c.LockedUntil.Before(e.c.Points[i].Promise) })
	})
	for k, r := range p.Rules {
		for j, name := range r.Lineages {
			if name != "*" && !slices.ContainsFunc(e.c.Points, func(pt Point) bool { return pt.Lineage == name }) {
				notes = append(notes, Note{Code: CodeUnmatched, Rule: fmt.Sprintf("rules[%d].lineages[%d]", k, j), Lineage: name,
					Text: "the catalogue has no point of this lineage: is its name right?"})
			}
		}
	}
	for _, h := range e.c.Holds {
		covered := false
		for i := 0; i < len(w.days) && !covered; i++ {
			covered = h.Covers(e.c.Points[i], w.days[i])
		}
		if h.Stands() && !covered {
			notes = append(notes, Note{Code: CodeUnmatched, Text: fmt.Sprintf("hold %s covers no point: is its scope right?", h.ID)})
		}
	}
	return notes
}
