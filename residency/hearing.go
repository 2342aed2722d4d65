package residency

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// hearing is one regime asked about one request. It notes all that the answer rests on: each date that is compared
// says when the comparison would come out otherwise, so the answer cannot change before the earliest of them.
type hearing struct {
	rules  *Ruleset
	regime *regime
	q      *Request
	places []Place // as resolved, with groups
	on     Day     // whose law is asked for, in the regime's zone
	today  Day     // Now, by which reviews are judged

	ends []Ending
	said *Decision // what this regime adds to the decision
}

// judged is a place of a target, where bytes rest or from where they can be reached.
type judged struct {
	place  Place
	access bool
}

func (j judged) String() string {
	if j.access {
		return "access from " + string(j.place)
	}
	return string(j.place)
}

// changes notes that something changes on a day of the law that is asked for.
func (h *hearing) changes(day Day, by string) {
	if !day.IsZero() && day.After(h.on) {
		h.ends = append(h.ends, Ending{h.start(day), by})
	}
}

// start is the first instant of a day in the regime's zone.
func (h *hearing) start(d Day) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, h.regime.zone).UTC()
}

// rests drops what was noted from mark to from: the answer does not rest on it.
func (h *hearing) rests(mark, from int) {
	h.ends = slices.Delete(h.ends, mark, from)
}

// within says whether a place lies within a list of places and sets.
func (h *hearing) within(p Place, list []Place) truth {
	t, mark := no, len(h.ends)
	for _, q := range list {
		from := len(h.ends)
		name, ok := q.set()
		in := no
		if ok {
			in = h.member(p, name)
		} else {
			in = p.within(q)
		}
		if in == yes {
			h.rests(mark, from)
			return yes
		}
		t = max(t, in)
	}
	return t
}

// member says whether a place is in a set on the day.
func (h *hearing) member(p Place, name string) truth {
	t, mark := no, len(h.ends)
	for _, s := range h.rules.sets[name] {
		in := p.within(s.place)
		if in == no {
			continue
		}
		from := len(h.ends)
		v, next := s.times.at(h.on, h.q.Known)
		h.changes(next, "set @"+name)
		if v == nil {
			continue
		}
		if in == yes {
			h.rests(mark, from)
			return yes
		}
		t = unsure
	}
	return t
}

// binds says whether the regime binds the subject on the day, by its origins and tags.
func (h *hearing) binds() truth {
	b, s := &h.regime.Binds, &h.q.Subject
	if b.MinClass > s.Class.judged() || b.Hosted && !h.q.Target.hosted() {
		return no
	}
	c := h.concerns()
	if c == no {
		return no // when such a regime begins does not matter
	}
	return min(c, h.inForce())
}

// concerns says whether an origin or a tag is of those that the regime binds.
func (h *hearing) concerns() truth {
	b, s := &h.regime.Binds, &h.q.Subject
	tagged := is(slices.ContainsFunc(s.Tags, func(t Tag) bool { return slices.Contains(b.Tags, t) }))
	if tagged == no && b.All || tagged == yes && !b.All {
		return tagged
	}
	return h.from("", b.Origins)
}

// inForce says whether the regime binds on the day. Where nobody knows since when it does, that is so only from the day on
// which it surely did.
func (h *hearing) inForce() truth {
	v, next := h.regime.InForce.at(h.on, h.q.Known)
	h.changes(next, h.regime.ID)
	if v == nil && h.regime.MaybeEarlier && !h.regime.InForce.begun(h.on, h.q.Known) {
		return unsure
	}
	return is(v != nil)
}

// hosted reports whether somebody else runs the target: a fact that only such a target has is told of it.
func (t *Target) hosted() bool {
	return t.Location.Provider != "" || t.Exposure.Operator != "" || t.Exposure.Parent != "" ||
		t.Custody.Holder == ThirdPartyHeld || t.Custody.Holder == ProviderHeld
}

// judgedPlaces returns the places to judge. Those of a group are all its members: data may be in any.
func (h *hearing) judgedPlaces() []judged {
	var all []judged
	for _, p := range h.places {
		name, ok := p.set()
		if !ok {
			all = append(all, judged{place: p})
			continue
		}
		for _, s := range h.rules.sets[name] {
			v, next := s.times.at(h.on, h.q.Known)
			h.changes(next, "set "+string(p))
			if v != nil {
				all = append(all, judged{place: s.place})
			}
		}
	}
	if h.regime.Access {
		for _, p := range h.q.Target.Exposure.Support {
			if !slices.Contains(all, judged{place: p}) {
				all = append(all, judged{place: p, access: true})
			}
		}
	}
	slices.SortFunc(all, func(a, b judged) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// scope says whether a rule speaks about a place of this request, leaving its dates aside.
func (h *hearing) scope(r *rule, p judged) truth {
	s, w := &h.q.Subject, &r.When
	has := func(tags []Tag) bool {
		return slices.ContainsFunc(s.Tags, func(t Tag) bool { return slices.Contains(tags, t) })
	}
	switch {
	case r.Where == "rest" && p.access, r.Where == "access" && !p.access,
		w.MinClass > s.Class.judged(), w.Hosted && !h.q.Target.hosted(),
		len(w.Purposes) > 0 && !slices.Contains(w.Purposes, h.q.Purpose),
		len(w.Tags) > 0 && !has(w.Tags), has(w.ExceptTags):
		return no
	}
	t := yes
	if len(r.Places) > 0 {
		t = h.within(p.place, r.Places)
	}
	if t > no && len(r.ExceptPlaces) > 0 {
		t = min(t, not(h.within(p.place, r.ExceptPlaces)))
	}
	if t > no && len(w.Origins) > 0 {
		t = min(t, h.from(r.Kind, w.Origins))
	}
	return t
}

// from says whether the data is of origins that a rule is limited to. A permit must be for all of them, so that one
// more origin never permits more.
func (h *hearing) from(kind string, list []Place) truth {
	var each []truth
	for _, o := range h.q.Subject.Origins {
		each = append(each, h.within(o, list))
	}
	switch {
	case len(each) == 0:
		return no
	case kind == kindPermit:
		return slices.Min(each)
	}
	return slices.Max(each)
}

// value returns the value of a rule in force on the day, also for those whom a paper grandfathers in.
func (h *hearing) value(r *rule) *Value {
	v, next := r.Values.at(h.on, h.q.Known)
	h.changes(next, r.ID)
	if v != nil || r.Grandfather == nil {
		return v
	}
	g := r.Grandfather
	h.changes(g.Until, r.ID)
	if !g.Until.IsZero() && !g.Until.After(h.on) {
		return nil
	}
	if slices.ContainsFunc(g.Papers, func(paper string) bool { return h.old(paper, g.Before) }) {
		return h.lapsed(r)
	}
	return nil
}

// old says whether a paper is in place that began before a day.
func (h *hearing) old(paper string, before Day) bool {
	kind, scope, _ := cutPaper(paper)
	for i := range h.q.Target.Papers {
		p := &h.q.Target.Papers[i]
		old := p.Kind == kind && p.covers(scope) && !p.From.IsZero() && p.From.Before(before)
		if old && (p.Until.IsZero() || p.Until.After(h.on)) && h.paper(kind, scope).truth == yes {
			return true
		}
	}
	return false
}

// holds says whether a rule speaks about a place, is in force, and finds met what it needs.
func (h *hearing) holds(r *rule, p judged) finding {
	scope := h.scope(r, p)
	if scope == no {
		return finding{truth: no}
	}
	about := finding{truth: yes}
	if scope == unsure {
		about = h.vague(r, p)
	}
	if f, ok := h.stale(r); ok {
		return all(about, f)
	}
	v := h.value(r)
	if v == nil {
		return finding{truth: no}
	}
	f := all(about, h.needs(r, p))
	f.value = v
	return f
}

// vague names what is not told closely enough to know whether a rule speaks about it.
func (h *hearing) vague(r *rule, p judged) finding {
	mark := len(h.ends)
	defer func() { h.ends = h.ends[:mark] }()
	if len(r.Places) > 0 && h.within(p.place, r.Places) == unsure || h.within(p.place, r.ExceptPlaces) == unsure {
		return known(unsure, "which part of "+string(p.place)+" the target is in")
	}
	return known(unsure, "which part of its country the data is from")
}

// stale says that nobody has looked whether a rule still holds. Its answer is not known then, whatever it says.
func (h *hearing) stale(r *rule) (finding, bool) {
	if r.ReviewBy.IsZero() || r.ended() {
		return finding{}, false
	}
	if h.today.After(r.ReviewBy) {
		return known(unsure, "a review of the rule, which was due by "+r.ReviewBy.String()), true
	}
	h.ends = append(h.ends, Ending{h.start(r.ReviewBy.AddDays(1)), "review of " + r.ID})
	return finding{}, false
}

// needs judges what a rule needs at a place.
func (h *hearing) needs(r *rule, p judged) finding {
	var fs []finding
	for _, c := range r.Needs {
		fs = append(fs, h.met(c, p))
	}
	if len(r.AnyOf) > 0 {
		var lists []finding
		for _, list := range r.AnyOf {
			var each []finding
			for _, c := range list {
				each = append(each, h.met(c, p))
			}
			lists = append(lists, all(each...))
		}
		fs = append(fs, either(lists...))
	}
	return all(fs...)
}

// reason adds a step to the decision, once.
func (h *hearing) reason(r *rule, f finding, p judged, v Verdict, format string, args ...any) {
	step := Reason{Regime: h.regime.ID, Place: p.place, Verdict: v, Text: fmt.Sprintf(format, args...)}
	if r != nil {
		step.Rule, step.ReviewedBy = r.ID, r.ReviewedBy
	}
	if f.value != nil {
		step.From, step.Until, step.Ref = f.value.From, f.value.Until, f.value.Ref
	}
	if !slices.Contains(h.said.Reasons, step) {
		h.said.Reasons = append(h.said.Reasons, step)
	}
}

// lacks adds the facts that a rule misses.
func (h *hearing) lacks(rule string, f finding) {
	for _, fact := range f.facts {
		if m := (Missing{Rule: rule, Fact: fact}); !slices.Contains(h.said.Missing, m) {
			h.said.Missing = append(h.said.Missing, m)
		}
	}
}

// owes adds what a rule obliges to, and a warning on the day on which its end can be read either way.
func (h *hearing) owes(r *rule, v *Value) {
	for _, d := range r.Obliges {
		if o := (Obligation{Rule: r.ID, Code: d.Code, Text: d.Text}); !slices.Contains(h.said.Obligations, o) {
			h.said.Obligations = append(h.said.Obligations, o)
		}
	}
	if v != nil && v.Boundary != "" && v.Until.AddDays(-1) == h.on {
		h.warn("%s: the source says %q, and that is this day: it may be read as over", r.ID, v.Boundary)
	}
}

func (h *hearing) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(h.said.Warnings, w) {
		h.said.Warnings = append(h.said.Warnings, w)
	}
}

// unconfirmed notes a rule that would be asked and is not, because nobody confirmed it.
func (h *hearing) unconfirmed(r *rule, p judged) {
	if r.Confirmed || h.rules.enabled[r.ID] || h.rules.off[r.ID] || slices.Contains(h.said.Unconfirmed, r.ID) {
		return
	}
	mark := len(h.ends)
	asked := h.scope(r, p) > no && h.value(r) != nil
	h.ends = h.ends[:mark]
	if asked {
		h.said.Unconfirmed = append(h.said.Unconfirmed, r.ID)
	}
}
