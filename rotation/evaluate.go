package rotation

import (
	"cmp"
	"fmt"
	"math"
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
		// Nothing will go; ages are shown as of the newest point.
		e.now = c.HighWater()
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

// view is what one policy says of all points.
type view struct {
	policy Policy
	until  time.Time // when its ratchet ends; zero for the current policy
	today  Day

	days       []Day
	quarantine []string // why; empty: not
	good       []bool
	rule       []int // -1: none
	keeps      [][]Reason
	gone       [][]Reason // why tiers do not keep it
	granted    [][]string
	promised   []Day               // up to which day tiers keep it by age
	suspended  map[string][]Reason // why nothing of a lineage goes
	notes      []Note
}

// look adds what a policy says, or the Keeper in its place.
func (e *evaluation) look(p Policy, until time.Time, keeper Keeper) {
	n := len(e.c.Points)
	w := &view{
		policy: p, until: until, today: p.Zone.BusinessDay(e.now),
		days: make([]Day, n), quarantine: make([]string, n), good: make([]bool, n), rule: make([]int, n),
		keeps: make([][]Reason, n), gone: make([][]Reason, n), granted: make([][]string, n), promised: make([]Day, n),
		suspended: map[string][]Reason{},
	}
	e.views = append(e.views, w)
	lineages := map[string][]int{}
	for i, pt := range e.c.Points {
		w.days[i], w.quarantine[i] = e.date(p, pt)
		w.good[i] = w.quarantine[i] == "" && pt.Complete && pt.Verified >= p.verified() && len(pt.Anomalies) == 0
		for _, id := range pt.Requires {
			j, ok := e.byID[id]
			w.good[i] = w.good[i] && ok && j < i && w.good[j]
		}
		w.rule[i] = p.ruleFor(pt.Lineage)
		lineages[pt.Lineage] = append(lineages[pt.Lineage], i)
	}
	for _, name := range sortedKeys(lineages) {
		members := lineages[name]
		k := w.rule[members[0]]
		if keeper != nil {
			w.like(keeper, e.c, name, members, e.now)
			continue
		}
		if k < 0 {
			continue
		}
		rule := p.Rules[k]
		for j, t := range rule.Tiers {
			place := fmt.Sprintf("rules[%d].tiers[%d]", k, j)
			if t.Period == Every {
				w.every(members, t, place)
			} else {
				w.tier(e.c, members, t, place)
			}
		}
		w.floors(e.c, name, members, rule.Floors, fmt.Sprintf("rules[%d]", k))
		w.stale(name, members, rule.Tiers)
	}
}

// lookBack adds what the policies say that were replaced less than their ratchets ago.
func (e *evaluation) lookBack(p Policy) {
	past := e.c.Policies
	replaced := e.now // a policy that is not recorded yet replaces the last one now
	current := p.Digest()
	for i := len(past) - 1; i >= 0; i-- {
		old := past[i].Policy
		if i == len(past)-1 && old.Digest() == current {
			replaced = past[i].At
			continue
		}
		// It binds for whole business days, as ages and promises do.
		until := later(replaced, old.Ratchet)
		if e.views[0].today.Before(firstDayAfter(p.Zone, until)) && old.Digest() != current {
			e.look(old, until, nil)
		}
		replaced = past[i].At
	}
}

// date returns the business day that a point counts for, and why it is in quarantine, if it is.
func (e *evaluation) date(p Policy, pt Point) (Day, string) {
	skew, lag := p.Time.skew(), p.lag()
	observed := p.Zone.BusinessDay(pt.Observed)
	day := pt.Day
	if day.IsZero() {
		day = observed
	}
	switch {
	case pt.Observed.After(e.now.Add(skew)):
		return observed, "it was observed later than now: a store's clock was wrong"
	case pt.Claimed.After(pt.Observed.Add(skew)):
		return observed, "it claims to be from the future of when it was observed"
	case day.After(observed):
		return observed, "it claims a later day than that on which it was observed"
	case until(lag, day).Before(observed):
		return observed, fmt.Sprintf("it claims a day more than %s before it was observed", lag)
	case !pt.Claimed.IsZero() && until(lag, p.Zone.BusinessDay(pt.Claimed)).Before(observed):
		return observed, fmt.Sprintf("it claims a time more than %s before it was observed", lag)
	}
	return day, ""
}

// until is the day on which a span from d ends, within the calendar.
func until(s Span, d Day) Day {
	end, last := s.From(d), Day{9999, time.December, 31}
	if end.After(last) {
		return last
	}
	return end
}

// every keeps points as such.
func (w *view) every(members []int, t Tier, place string) {
	newer := 0 // good ones
	for _, i := range slices.Backward(members) {
		if w.quarantine[i] != "" {
			continue
		}
		counts := newer < t.Count
		end := until(t.Within, w.days[i])
		w.judge(i, end, counts, "every point", t, place, CodeTier)
		if w.good[i] {
			newer++
		}
	}
}

// judge notes that a point that the tier has chosen is kept, by age or by count, or that it no longer is.
func (w *view) judge(i int, end Day, counts bool, what string, t Tier, place, code string) (kept bool) {
	young := w.today.Before(end)
	r := Reason{Code: code, Rule: place}
	switch {
	case young:
		r.Text = fmt.Sprintf("%s, for %s", what, t.Within)
		if code != CodeTier {
			break // another point may get the bucket at any time
		}
		r.Until = end
		if end.After(w.promised[i]) {
			w.promised[i] = end
		}
	case counts:
		r.Text = fmt.Sprintf("%s, older than %s but among the newest %d verified", what, t.Within, t.Count)
	default:
		w.gone[i] = append(w.gone[i], Reason{Code: CodeAged, Rule: place,
			Text: fmt.Sprintf("%s, older than %s, and %d newer are verified", what, t.Within, t.Count)})
		return false
	}
	w.keeps[i] = append(w.keeps[i], r)
	return true
}

// cell is a bucket and the points in it, in the order of the log.
type cell struct {
	bucket
	members []int
}

// tier keeps one point in each bucket.
func (w *view) tier(c Catalogue, members []int, t Tier, place string) {
	z := w.policy.Zone
	byBucket := map[bucket]*cell{}
	var cells []*cell
	for _, i := range members {
		if w.quarantine[i] != "" {
			continue
		}
		b := bucketOf(t.Period, w.days[i], c.Points[i].Observed, z)
		if byBucket[b] == nil {
			byBucket[b] = &cell{bucket: b}
			cells = append(cells, byBucket[b])
		}
		byBucket[b].members = append(byBucket[b].members, i)
	}
	slices.SortFunc(cells, func(a, b *cell) int { return cmp.Compare(b.start, a.start) })
	newer := 0 // buckets with a verified point
	for _, b := range cells {
		name := b.name(z)
		counts := newer < t.Count
		var owners []int
		claimed := false
		for _, i := range b.members {
			if slices.Contains(c.Points[i].Promoted, name) {
				owners = append(owners, i)
				claimed = claimed || w.good[i]
			}
		}
		// A bucket that was granted by a policy of other preferences may still have to wait for its day.
		provisional := -1
		switch chosen, decided := w.choose(b, t); {
		case chosen < 0 || slices.Contains(owners, chosen):
		case !decided:
			provisional = chosen
		case !claimed:
			owners, claimed = append(owners, chosen), true
		}
		for _, i := range b.members {
			end := until(t.Within, w.days[i])
			switch {
			case slices.Contains(owners, i):
				how := "first verified point of the " + t.Period.noun()
				if t.PreferDay > 0 {
					how = fmt.Sprintf("the %s's point for its day %d", t.Period.noun(), t.PreferDay)
				}
				if w.judge(i, end, counts, name+": "+how, t, place, CodeTier) && w.good[i] {
					w.granted[i] = append(w.granted[i], name)
				}
			case i == provisional:
				w.keeps[i] = append(w.keeps[i], Reason{Code: CodeProvisional, Rule: place,
					Text: fmt.Sprintf("%s: newest so far; a verified point of its day %d or later takes its place", name, t.PreferDay)})
			case !claimed && provisional < 0:
				w.judge(i, end, counts, name+": no point of it is verified yet", t, place, CodeUnclaimed)
			default:
				w.gone[i] = append(w.gone[i], Reason{Code: CodeSurplus, Rule: place, Text: name + ": another point has it"})
			}
		}
		if claimed {
			newer++
		}
	}
}

// choose returns the member that is to have the bucket, and whether that is for good; -1: none.
func (w *view) choose(b *cell, t Tier) (chosen int, decided bool) {
	chosen = -1
	prefer := b.first()
	if t.PreferDay > 0 {
		prefer = b.prefer(t.PreferDay)
	}
	for _, i := range b.members {
		switch {
		case !w.good[i]:
		case t.PreferDay == 0 || !w.days[i].Before(prefer):
			return i, true
		case chosen < 0 || !w.days[i].Before(w.days[chosen]):
			chosen = i
		}
	}
	return chosen, until(w.policy.lag(), b.last()).Before(w.today)
}

// floors keeps the least holdings of a lineage, and suspends its releases while it has less.
func (w *view) floors(c Catalogue, name string, members []int, floors []Floor, place string) {
	newest := -1
	for _, i := range slices.Backward(members) {
		if w.good[i] {
			newest = i
			break
		}
	}
	suspend := func(text, rule string) {
		w.suspended[name] = append(w.suspended[name], Reason{Code: CodeFloor, Rule: rule, Text: text + ": nothing of the lineage goes"})
		w.notes = append(w.notes, Note{Code: CodeFloor, Rule: rule, Lineage: name, Points: len(members), Text: text})
	}
	if newest < 0 {
		suspend("no point of the lineage is verified", place)
	} else {
		w.keeps[newest] = append(w.keeps[newest], Reason{Code: CodeFloor, Rule: place, Text: "the newest verified point of its lineage"})
	}
	for j, f := range floors {
		rule := fmt.Sprintf("%s.floors[%d]", place, j)
		met := 0
		for _, i := range slices.Backward(members) {
			if !w.meets(f, c.Points[i], i) {
				continue
			}
			if met == 0 && !f.MaxAge.IsZero() && until(f.MaxAge, w.days[i]).Before(w.today) {
				suspend(fmt.Sprintf("the newest point that is %s is of %s, more than %s ago", f.Need, w.days[i], f.MaxAge), rule)
			}
			met++
			w.keeps[i] = append(w.keeps[i], Reason{Code: CodeFloor, Rule: rule,
				Text: fmt.Sprintf("%s: %d of the %d newest needed", f.Need, met, f.Points)})
			if met == f.Points {
				break
			}
		}
		if met < f.Points {
			suspend(fmt.Sprintf("%d of the %d points needed are %s", met, f.Points, f.Need), rule)
		}
	}
}

// meets says whether a point counts for a floor.
func (w *view) meets(f Floor, p Point, i int) bool {
	copies, least := 0, f.Copies
	if f.Need >= NeedOffsite {
		least = max(1, least)
	}
	for _, c := range p.Copies {
		if c.Verified >= w.policy.verified() && (f.Need != NeedOffsite || c.Offsite) && (f.Need != NeedOffline || c.Offline) {
			copies++
		}
	}
	fit := w.good[i]
	if f.Need == NeedComplete {
		fit = p.Complete && w.quarantine[i] == "" && len(p.Anomalies) == 0
	}
	return fit && copies >= least
}

// stale notes a lineage that nothing comes to any more.
func (w *view) stale(name string, members []int, tiers []Tier) {
	for _, i := range slices.Backward(members) {
		if w.quarantine[i] != "" {
			continue
		}
		for _, t := range tiers {
			if w.today.Before(until(t.Within, w.days[i])) {
				return
			}
		}
		w.notes = append(w.notes, Note{Code: CodeStale, Lineage: name, Points: len(members),
			Text: "nothing new for longer than any tier keeps: what is left stays for ever, unless a person lets it go"})
		return
	}
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

// ratchet adds why a policy that was replaced keeps a point.
func (e *evaluation) ratchet(i int, old *view) {
	reasons := slices.Concat(old.keeps[i], old.suspended[e.c.Points[i].Lineage])
	if old.rule[i] < 0 {
		reasons = append(reasons, Reason{Code: CodeNoRule, Text: "no rule of it names the lineage"})
	}
	if len(reasons) == 0 {
		return
	}
	// The reason that lasts longest by itself. One that ends by no date, such as a count, may end any day.
	r := reasons[0]
	for _, x := range reasons {
		if x.Until.After(r.Until) {
			r = x
		}
	}
	bound := firstDayAfter(e.views[0].policy.Zone, old.until)
	end := r.Until
	if bound.Before(end) {
		end = bound
	}
	e.keeps[i] = append(e.keeps[i], Reason{Code: CodeRatchet, Rule: "ratchet", Until: end,
		Text: fmt.Sprintf("a policy that binds until %s keeps it: %s", bound, r.Text)})
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

// spend lets go what the budgets have room for, oldest first, and keeps the rest. A point goes together with all that
// require it.
func (e *evaluation) spend() {
	points, bytes := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, w := range e.views {
		b := w.policy.Budget
		if b == (Budget{}) {
			continue // a policy without rules, which lets nothing go
		}
		usedPoints, usedBytes := int64(0), int64(0)
		since := earlier(e.now, b.Per)
		for _, r := range e.c.Releases {
			if r.At.After(since) {
				usedPoints, usedBytes = add(usedPoints, int64(r.Points)), add(usedBytes, r.Bytes)
			}
		}
		if b.Points > 0 {
			points = min(points, max(0, int64(b.Points)-usedPoints))
		}
		if b.Percent > 0 {
			all, percent := add(int64(len(e.c.Points)), usedPoints), int64(b.Percent)
			points = min(points, max(0, max(1, all/100*percent+all%100*percent/100)-usedPoints))
		}
		if b.Bytes > 0 {
			bytes = min(bytes, max(0, b.Bytes-usedBytes))
		}
	}
	dependents := make([][]int, len(e.keeps))
	for i, pt := range e.c.Points {
		for _, id := range pt.Requires {
			if j, ok := e.byID[id]; ok {
				dependents[j] = append(dependents[j], i)
			}
		}
	}
	gone := make([]bool, len(e.keeps))
	// unit collects a point with all that require it and are still there.
	unit := func(i int) (members []int) {
		seen := map[int]bool{i: true}
		for todo := []int{i}; len(todo) > 0; {
			j := todo[0]
			todo = todo[1:]
			members = append(members, j)
			for _, k := range dependents[j] {
				if !seen[k] && !gone[k] {
					seen[k] = true
					todo = append(todo, k)
				}
			}
		}
		return members
	}
	for progress := true; progress; {
		progress = false
		for i := range e.keeps {
			if gone[i] || len(e.keeps[i]) > 0 || points == 0 {
				continue
			}
			members, size := unit(i), int64(0)
			for _, j := range members {
				size = add(size, e.c.Points[j].Bytes)
			}
			if int64(len(members)) > points || size > bytes {
				continue
			}
			points, bytes, progress = points-int64(len(members)), bytes-size, true
			for _, j := range members {
				gone[j] = true
			}
		}
	}
	held := 0
	for i := range e.keeps {
		if gone[i] || len(e.keeps[i]) > 0 {
			continue
		}
		held++
		e.keeps[i] = append(e.keeps[i], Reason{Code: CodeBudget, Rule: "budget", Text: "the budget has no room: it goes later"})
	}
	if held > 0 {
		e.notes = append(e.notes, Note{Code: CodeBudget, Rule: "budget", Points: held, Text: "the budget holds back points that could go"})
	}
}

// add adds what is not negative, and stays at the greatest number instead of overflowing.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// plan puts the result together.
func (e *evaluation) plan(p Policy) Plan {
	w := e.views[0]
	out := Plan{
		Format: 1, Repository: e.c.Repository, Head: e.c.Head, Policy: p.Digest(), Catalogue: digest("catalogue", e.c),
		Zone: p.Zone, Time: e.v, Verdicts: make([]Verdict, 0, len(e.c.Points)),
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
		covers := false
		for i, pt := range e.c.Points {
			covers = covers || h.Covers(pt, w.days[i])
		}
		if h.Stands() && !covers {
			notes = append(notes, Note{Code: CodeUnmatched, Text: fmt.Sprintf("hold %s covers no point: is its scope right?", h.ID)})
		}
	}
	return notes
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
