package rotation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

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
	for _, name := range slices.Sorted(maps.Keys(lineages)) {
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
	end, last := s.From(d), Day{Year: 9999, Month: time.December, Day: 31}
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
	// What came after it may be sound and just not verified yet, and nothing else holds the last changes.
	for _, i := range members {
		if newest >= 0 && c.Points[i].Seq > c.Points[newest].Seq && w.quarantine[i] == "" {
			w.keeps[i] = append(w.keeps[i], Reason{Code: CodeNewest, Rule: place, Text: "newer than every verified point of its lineage"})
		}
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
