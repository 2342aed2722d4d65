package media

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// Violation is a time, or a moment, at which a property does not hold.
type Violation struct {
	Property     string
	From, To     Moment
	SurgeryHours float64 // within it
	Text         string  // what does not hold, one clause
	Medium       string  `json:",omitempty"`
	Faults       []Fault `json:",omitempty"` // that led to it, as far as [Inject] put them there

	from, to int
}

// String is the violation as a manager can read it.
func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", v.Property)
	if v.from == v.to {
		fmt.Fprintf(&b, "on %s", v.From)
	} else {
		fmt.Fprintf(&b, "from %s to %s (%s, %.1f surgery hours)", v.From, v.To, hours(v.to-v.from), v.SurgeryHours)
	}
	fmt.Fprintf(&b, " %s", v.Text)
	for i, f := range v.Faults {
		fmt.Fprintf(&b, "%s %s", map[bool]string{true: "; after", false: " and"}[i == 0], f)
	}
	return b.String()
}

func hours(minutes int) string {
	if minutes >= 2*day {
		return fmt.Sprintf("%.1f days", float64(minutes)/day)
	}
	return fmt.Sprintf("%.1f h", float64(minutes)/60)
}

// Property is something that must hold at all times of a timeline. P1 to P11 are made by the functions of
// this package; [Rule] makes others.
type Property struct {
	Name  string // like "P2 offsite"
	Says  string // what it requires, one sentence
	check func(*Timeline, func(Violation))
	whole bool // it is about a whole timeline, so a short one with a fault in it says nothing
}

// Check holds a timeline against properties, and returns every violation in the order of the properties,
// then of time. Where the timeline is [Timeline.Exhaustive], an empty answer is a proof for the routine
// without faults and holidays.
func Check(t Timeline, properties ...Property) []Violation {
	var out []Violation
	for _, p := range properties {
		if p.check == nil {
			continue
		}
		begin := len(out)
		p.check(&t, func(v Violation) {
			v.Property = p.Name
			v.From, v.To = t.moment(v.from), t.moment(v.to)
			v.SurgeryHours = float64(t.seen.until(min(v.to, t.to))-t.seen.until(v.from)) / 60
			v.Faults = t.Scenario.Faults
			// What lasts is one violation.
			if n := len(out) - 1; n >= begin && v.from < v.to && out[n].to == v.from && out[n].Text == v.Text {
				from := out[n].from
				out[n].to, out[n].To = v.to, v.To
				out[n].SurgeryHours = float64(t.seen.until(min(v.to, t.to))-t.seen.until(from)) / 60
				return
			}
			out = append(out, v)
		})
	}
	return out
}

// Trace is what led to a violation: everything that happened in the two days before it and until its end,
// at most twenty lines, the faults first.
func (t Timeline) Trace(v Violation) []string {
	var out []string
	for _, f := range t.Scenario.Faults {
		out = append(out, "fault: "+f.String())
	}
	from := v.from - 2*day
	for _, h := range t.Happenings {
		if h.minute >= from && h.minute <= v.to && len(out) < 19 {
			out = append(out, fmt.Sprintf("%s  %s", h.At, h.Text))
		}
	}
	return append(out, "=> "+v.String())
}

// Rule makes a property of a function that looks at every time in which nothing changes. It gives the
// reason why the property does not hold, or nothing.
func Rule(name, says string, holds func(Inventory) string) Property {
	return Property{Name: name, Says: says, check: func(t *Timeline, report func(Violation)) {
		for _, s := range t.spans {
			if why := holds(t.inventory(s, s.to)); why != "" {
				report(Violation{from: s.from, to: s.to, Text: why})
			}
		}
	}}
}

// AlwaysOne is P1: at all times there is a complete, verified copy somewhere.
func AlwaysOne() Property {
	return Property{Name: "P1 always one", Says: "At all times there is a complete copy that was read back.", check: func(t *Timeline, report func(Violation)) {
		t.each(report, func(s span) string {
			if newest(s.units, func(unit) bool { return true }) == nil {
				return "there is no good copy anywhere"
			}
			return ""
		})
	}}
}

// KeptOffsite is P2: at least copies good ones are away from the practice, the newest never older than the
// given surgery time, and the hand-overs known at least so well. A zero age means any.
func KeptOffsite(copies int, newestWithin time.Duration, evidence Grade) Property {
	says := fmt.Sprintf("At least %s away from the practice", verified(copies))
	if newestWithin > 0 {
		says += fmt.Sprintf(", the newest at most %.1f surgery hours old", newestWithin.Hours())
	}
	return Property{Name: "P2 offsite", Says: says + ".", check: func(t *Timeline, report func(Violation)) {
		t.fresh(report, away, copies, newestWithin, "away from the practice", func() string {
			if t.Scenario.Evidence < evidence {
				return fmt.Sprintf("it is only %s, not %s, that media were taken away", t.Scenario.Evidence, evidence)
			}
			return ""
		})
	}}
}

// KeptOffline is P3: at least one good copy has no software path to it, and is never older than the given
// surgery time. A zero age means any.
func KeptOffline(newestWithin time.Duration) Property {
	says := "At least 1 good copy is attached to no computer"
	if newestWithin > 0 {
		says += fmt.Sprintf(", the newest at most %.1f surgery hours old", newestWithin.Hours())
	}
	return Property{Name: "P3 offline", Says: says + ".", check: func(t *Timeline, report func(Violation)) {
		t.fresh(report, offline, 1, newestWithin, "detached", func() string { return "" })
	}}
}

func verified(n int) string {
	if n == 1 {
		return "1 good copy is"
	}
	return fmt.Sprintf("%d good copies are", n)
}

// fresh checks number and age of the good copies that pass.
func (t *Timeline) fresh(report func(Violation), pass func(unit) bool, copies int, within time.Duration, where string,
	always func() string) {
	limit := int(within / time.Minute)
	weak := always()
	for _, s := range t.spans {
		n := 0
		for _, u := range s.units {
			if u.good() != nil && pass(u) {
				n++
			}
		}
		switch c := newest(s.units, pass); {
		case weak != "":
			report(Violation{from: s.from, to: s.to, Text: weak})
		case n == 0 && copies > 0:
			report(Violation{from: s.from, to: s.to, Text: fmt.Sprintf("no good copy is %s", where)})
		case n < copies:
			report(Violation{from: s.from, to: s.to, Text: fmt.Sprintf("only %s %s, and %d are required", verified(n), where, copies)})
		case limit > 0 && t.seen.until(s.to)-t.seen.until(c.data) > limit:
			// Within a span the age grows with the minutes of surgery.
			from := s.from + max(0, limit-(t.seen.until(s.from)-t.seen.until(c.data)))
			report(Violation{from: from, to: s.to, Text: fmt.Sprintf("the newest good copy %s is more than %.1f surgery hours old",
				where, within.Hours())})
		}
	}
}

func (t *Timeline) each(report func(Violation), holds func(span) string) {
	for _, s := range t.spans {
		if why := holds(s); why != "" {
			report(Violation{from: s.from, to: s.to, Text: why})
		}
	}
}

// RestBeforeWrite is P4: no medium is overwritten before so many days and so many writes to other media.
// The second half holds whatever the clocks say; Amanda's tapecycle is the model for it.
func RestBeforeWrite(days, writes int) Property {
	says := fmt.Sprintf("A medium rests for %s and %s before it is overwritten.", count(days, "day"), count(writes, "other backup"))
	return Property{Name: "P4 rest", Says: says, check: func(t *Timeline, report func(Violation)) {
		for _, o := range t.overwrites {
			switch {
			case o.days < days:
				report(t.at(o, "%s is overwritten after %s, and %d are required", t.Scenario.Names[o.medium], count(o.days, "day"), days))
			case o.others < writes:
				report(t.at(o, "%s is overwritten after %s, and %d are required", t.Scenario.Names[o.medium],
					count(o.others, "other backup"), writes))
			}
		}
	}}
}

func (t *Timeline) at(o overwrite, format string, args ...any) Violation {
	return Violation{from: o.at, to: o.at, Medium: t.Scenario.Names[o.medium], Text: fmt.Sprintf(format, args...)}
}

// Promises is for how long copies are promised, by tier; the zero Span promises nothing. A promise runs
// through the day that the span leads to.
type Promises struct {
	Daily, Weekly, Monthly, Yearly rotation.Span
}

func (p Promises) of(t Tier) rotation.Span {
	switch t {
	case Weekly:
		return p.Weekly
	case Monthly:
		return p.Monthly
	case Yearly:
		return p.Yearly
	}
	return p.Daily
}

// NeverThePromised is P5: the medium being written never holds the only copy of a point that is still
// promised. In a timeline every point is on one medium only.
func NeverThePromised(p Promises) Property {
	return Property{Name: "P5 promised", Says: "No promised copy is overwritten.", check: func(t *Timeline, report func(Violation)) {
		for _, o := range t.overwrites {
			promise := p.of(o.old.tier)
			if promise.IsZero() {
				continue
			}
			today, end := t.moment(o.at).Day, promise.From(o.old.day)
			if !today.After(end) {
				report(t.at(o, "%s is overwritten, whose %s copy of %s is promised until %s", t.Scenario.Names[o.medium], o.old.tier,
					shortDay(o.old.day), until(end, today)))
			}
		}
	}}
}

// NewBeforeOld is P6: a copy is given up only when a newer one is complete and was read back.
func NewBeforeOld() Property {
	return Property{Name: "P6 new before old", Says: "An old copy is given up only when a newer good one is on another medium.", check: func(t *Timeline, report func(Violation)) {
		for _, o := range t.overwrites {
			if !o.newer {
				report(t.at(o, "%s is overwritten although no newer good copy exists", t.Scenario.Names[o.medium]))
			}
		}
	}}
}

// NeverOneRoof is P7: the media are never all in the same place.
func NeverOneRoof() Property {
	return Property{Name: "P7 never one roof", Says: "The media are never all in one place.", check: func(t *Timeline, report func(Violation)) {
		t.each(report, func(s span) string {
			where, n := map[int16]bool{}, 0
			for _, u := range s.units {
				if u.lost {
					continue
				}
				n++
				if u.away {
					where[u.keeper] = true
				} else {
					where[-1] = true
				}
			}
			if n > 0 && len(where) < 2 {
				return "all media are under one roof"
			}
			return ""
		})
	}}
}

// NeverTwoOnOne is P8: two consecutive copies are never on one medium only.
func NeverTwoOnOne() Property {
	return Property{Name: "P8 never two on one", Says: "Two consecutive backups never go onto the same medium.", check: func(t *Timeline, report func(Violation)) {
		last := -1
		for i, n := range t.Nights {
			if n.Outcome == Missed {
				continue
			}
			if last >= 0 && t.Nights[last].Medium == n.Medium {
				at := n.Day.Sub(t.Scenario.Start)*day + minutes(n.Run)
				report(Violation{from: at, to: at, Medium: n.Medium,
					Text: fmt.Sprintf("%s takes two backups in a row", n.Medium)})
			}
			last = i
		}
	}}
}

// WearSpread is P9: no medium is written more than ratio times as often as another, and none more than
// mostWrites times, over the timeline. Zero means any.
func WearSpread(ratio float64, mostWrites int) Property {
	return Property{Name: "P9 wear", Says: "The media wear evenly, and none beyond its limit.", whole: true, check: func(t *Timeline, report func(Violation)) {
		least := slices.Min(t.writes)
		for i, w := range t.writes {
			v := Violation{from: t.from, to: t.to, Medium: t.Scenario.Names[i]}
			if mostWrites > 0 && w > mostWrites {
				v.Text = fmt.Sprintf("%s is written %s, and %d is its limit", v.Medium, count(w, "time"), mostWrites)
				report(v)
			}
			if ratio > 0 && float64(w) > ratio*float64(least) {
				v.Text = fmt.Sprintf("%s is written %s and another %s, more than %.3g to 1", v.Medium, count(w, "time"),
					count(least, "time"), ratio)
				report(v)
			}
		}
	}}
}

// ReadEvery is P10: every medium is read back at least every so many days. A medium can be read only where
// it is, so no rule helps if its turn comes less often; see [Approve].
func ReadEvery(days int) Property {
	return rests("P10 read test", fmt.Sprintf("Every medium is read back every %s.", count(days, "day")), days, false, func(Class) bool { return true },
		"is not read back")
}

// Powered is P11: flash and SSDs are never without power for longer. The JEDEC figure for client drives is
// one year at 30 °C at the end of their life, and half of it for every 5 °C more (JESD218).
func Powered(days int) Property {
	return rests("P11 power", fmt.Sprintf("No flash drive is without power for more than %s.", count(days, "day")), days, true, Class.forgets,
		"has no power")
}

func rests(name, says string, days int, power bool, class func(Class) bool, what string) Property {
	return Property{Name: name, Says: says, check: func(t *Timeline, report func(Violation)) {
		if !class(t.Scenario.Class) {
			return
		}
		for _, r := range t.rests {
			if r.power == power && r.to-r.from > days*day {
				report(Violation{from: max(r.from, t.from), to: r.to, Medium: t.Scenario.Names[r.medium],
					Text: fmt.Sprintf("%s %s for %d days", t.Scenario.Names[r.medium], what, (r.to-r.from)/day)})
			}
		}
	}}
}

// Faults says what [Inject] tries.
type Faults struct {
	Kinds []FaultKind // default: late return, lost drive, missed night
	Two   bool        // also every two faults that begin within Within business days
	// Within is how close together two faults are; default 5.
	Within int
	// Most is the most timelines to play; default 20000.
	Most int
}

// Injected is what [Inject] found.
type Injected struct {
	Played   int  // timelines
	Complete bool // every fault was tried; otherwise Most was reached
	// First is the first violation of each property, with as few faults as possible, with its trace.
	First []Counterexample
	// Broken is in how many of the timelines each property, by name, did not hold.
	Broken map[string]int
}

// Counterexample is a violation, and how it came about.
type Counterexample struct {
	Violation Violation
	Trace     []string
}

// Inject plays the scenario with every single fault on every day until set and week come round together,
// and where asked with every two, and checks each timeline; first of all without any. A scenario without
// end, such as grandfather-father-son by calendar, is tried for its first 52 weeks. Faults that the scenario
// has already stay in. [WearSpread] is about whole cycles and is left to [Check].
func Inject(s Scenario, f Faults, properties ...Property) (Injected, error) {
	base, err := s.withDefaults()
	if err != nil {
		return Injected{}, err
	}
	kinds := f.Kinds
	if len(kinds) == 0 {
		kinds = []FaultKind{LateReturn, LostDrive, MissedNight}
	}
	properties = slices.DeleteFunc(slices.Clone(properties), func(p Property) bool { return p.whole })
	within, most := cmp.Or(f.Within, 5), cmp.Or(f.Most, 20000)
	days, whole := s.cycleOf(base)
	var opens []rotation.Day
	for i := range days + 7*within {
		if d := s.Start.AddDays(i); base.Hours.Open(d) {
			opens = append(opens, d)
		}
	}
	out := Injected{Complete: whole, Broken: map[string]int{}}
	found := map[string]bool{}
	// The effect of a fault is over when every medium has had its turn again.
	after := min(base.warm(), 400) + 14
	try := func(faults ...Fault) (bool, error) {
		if out.Played >= most {
			out.Complete = false
			return false, nil
		}
		out.Played++
		played := base
		played.Faults = append(slices.Clone(s.Faults), faults...)
		if len(faults) > 0 {
			played.Start = faults[0].Day.AddDays(-3)
		}
		played.Days = after + within*2
		t, err := Simulate(played)
		if err != nil {
			return false, err
		}
		broken := map[string]bool{}
		for _, v := range Check(t, properties...) {
			broken[v.Property] = true
			if !found[v.Property] {
				found[v.Property] = true
				out.First = append(out.First, Counterexample{v, t.Trace(v)})
			}
		}
		for name := range broken {
			out.Broken[name]++
		}
		return true, nil
	}
	if ok, err := try(); !ok {
		return out, err
	}
	last := s.Start.AddDays(days)
	for _, d := range opens {
		if !d.Before(last) {
			break
		}
		for _, k := range kinds {
			if ok, err := try(Fault{Kind: k, Day: d}); !ok {
				return out, err
			}
		}
	}
	if !f.Two {
		return out, nil
	}
	for i, d := range opens {
		if !d.Before(last) {
			break
		}
		for j := i; j < len(opens) && j <= i+within; j++ {
			for a, first := range kinds {
				for b, second := range kinds {
					if i == j && b <= a {
						continue
					}
					if ok, err := try(Fault{Kind: first, Day: d}, Fault{Kind: second, Day: opens[j]}); !ok {
						return out, err
					}
				}
			}
		}
	}
	return out, nil
}

// cycleOf is the days over which faults are tried.
func (s Scenario) cycleOf(base Scenario) (int, bool) {
	days, whole := base.cycle()
	if s.Days > 0 {
		return s.Days, whole && s.Days >= days
	}
	if days > 52*7 && base.Set.Period() == 0 {
		return 52 * 7, false
	}
	return days, whole
}
