package residency

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// builtIn is the regime of the rules that are part of the package and in no file.
const builtIn = "carekeep"

// The built-in rules. The policies about evidence can be switched off as guidance can.
const (
	ruleOperational = "carekeep.operational"
	rulePlace       = "carekeep.place"
	ruleOrigin      = "carekeep.origin"
	ruleLevel       = "evidence.level"
	ruleAge         = "evidence.age"
)

// MaxObservationAge is how long it is believed where a bucket was seen: its place can change after it was made. The
// built-in policy "evidence.age" asks for it.
const MaxObservationAge = 30 * 24 * time.Hour

// PaperLocation is the kind of the paper by which whoever runs a target for others says where it keeps the data. Its
// scope lists the places by their codes. The built-in policy "evidence.level" takes it where no interface can be asked.
const PaperLocation = "location-attestation"

const paperLocationMeaning = "whoever runs the target attests in writing in which places it keeps the data and every copy; the scope lists them by their codes"

// clockSkew is how far the clocks of who looked and who asks may be apart.
const clockSkew = 5 * time.Minute

// Decide answers whether the data may go to the target, or stay there. It is a pure function of the ruleset and the
// request. All regimes that bind the subject by its origins or tags are asked, and all must pass; what is not
// known never passes, and Decision.Missing says what to find out. Data without personal data passes anywhere.
//
// An error is a request that makes no sense, such as a place that does not exist or a tag that no rule knows; it says
// what to put right. A denial is no error.
func (r *Ruleset) Decide(q Request) (Decision, error) {
	if r == nil {
		return Decision{}, errors.New("residency: there is no ruleset: use Rules or NewRuleset")
	}
	if err := r.validate(&q); err != nil {
		return Decision{}, err
	}
	q = q.canonical()
	d := Decision{Ruleset: r.digest, AsOf: q.AsOf, Known: q.Known, Now: q.Now, Reasons: []Reason{}, Places: []Place{}}
	var err error
	if d.Facts, err = q.digest(); err != nil {
		return Decision{}, err
	}
	places, problem := q.Target.Location.resolve()
	if q.Subject.Class == Operational {
		d.Rules = Allowed
		d.Places = append(d.Places, places...)
		d.Reasons = append(d.Reasons, Reason{Regime: builtIn, Rule: ruleOperational, Verdict: Allowed,
			Text: "no personal data: it may be anywhere"})
		d.Verdict = d.Rules
		return d, nil
	}
	d.heed(&q, r)
	outcome, ends := r.judge(&q, places, problem, &d)
	d.Rules = outcome.verdict()
	d.Verdict = d.Rules
	ends = append(ends, d.override(q.Override, q.Existing)...)
	d.finish(ends)
	return d, nil
}

// heed warns of what the request leaves out or says in words that no rule knows.
func (d *Decision) heed(q *Request, r *Ruleset) {
	if q.Subject.Class == Unclassified {
		d.Warnings = append(d.Warnings, "the class is not given: the data is judged as "+q.Subject.Class.judged().String())
	}
	for _, p := range q.Target.Papers {
		if _, ok := r.papers[p.Kind]; !ok {
			d.Warnings = append(d.Warnings, "no rule asks for a paper of kind "+p.Kind)
		}
	}
}

// judge asks the built-in rules and all regimes.
func (r *Ruleset) judge(q *Request, places []Place, problem string, d *Decision) (truth, []Ending) {
	self := &hearing{rules: r, regime: &regime{ID: builtIn, zone: time.UTC}, q: q, said: d}
	self.today = dayIn(q.Now, time.UTC)
	self.on = cmp.Or(q.AsOf, self.today)
	out := min(self.located(places, problem), self.evident(places))
	ends := self.ends
	covered := map[Place]bool{}
	for _, g := range r.regimes {
		h := &hearing{rules: r, regime: g, q: q, places: places, said: d}
		h.today = dayIn(q.Now, g.zone)
		h.on = cmp.Or(q.AsOf, h.today)
		if r.silent(g) {
			h.noteUnconfirmed()
			continue
		}
		h.covers(covered)
		if bound := h.binds(); bound > no {
			out = min(out, h.bound(bound))
		}
		ends = append(ends, h.ends...)
	}
	return min(out, self.covered(covered)), ends
}

// dayIn returns the date at an instant in a zone.
func dayIn(t time.Time, zone *time.Location) Day {
	y, m, d := t.In(zone).Date()
	return Day{Year: y, Month: m, Day: d}
}

// silent reports whether a regime says nothing: it is switched off, or nobody confirmed any of its rules.
func (r *Ruleset) silent(g *regime) bool {
	return r.off[g.ID] || !slices.ContainsFunc(g.Rules, r.on)
}

// noteUnconfirmed notes the rules of a silent regime that would be asked.
func (h *hearing) noteUnconfirmed() {
	if h.rules.off[h.regime.ID] || h.binds() == no {
		return
	}
	for _, p := range h.judgedPlaces() {
		for _, r := range h.regime.Rules {
			h.unconfirmed(r, p)
		}
	}
}

// bound judges a regime that binds the subject, or may bind it. Where that is not known, it need only not object.
func (h *hearing) bound(bound truth) truth {
	t := h.judge()
	if t == yes || bound == yes {
		return t
	}
	fact := "which part of its country the data is from"
	if h.concerns() == yes {
		fact = "whether " + h.regime.ID + " bound on " + h.on.String() + " already"
	}
	h.lacks(h.regime.ID, known(unsure, fact))
	return unsure
}

// covers notes which origins the regime has looked at, whether or not it binds a class as low as this one. Guidance
// alone covers none: it says what somebody advises, and not what the law of the place forbids.
func (h *hearing) covers(covered map[Place]bool) {
	b := &h.regime.Binds
	tagged := slices.ContainsFunc(h.q.Subject.Tags, func(t Tag) bool { return slices.Contains(b.Tags, t) })
	if b.All && !tagged || b.Hosted && !h.q.Target.hosted() || h.advises() {
		return
	}
	for _, o := range h.q.Subject.Origins {
		if h.within(o, b.Origins) == yes && h.inForce() == yes {
			covered[o] = true
			if b.MinClass > h.q.Subject.Class.judged() {
				h.reason(nil, finding{}, judged{}, Allowed, "%s: asks nothing of the class %s", h.regime.Title, h.q.Subject.Class)
			}
		}
	}
}

// advises reports whether all that the regime says is guidance.
func (h *hearing) advises() bool {
	return !slices.ContainsFunc(h.regime.Rules, func(r *rule) bool { return h.rules.on(r) && r.Strength != "guidance" })
}

// covered says whether rules are known for every origin: no rule is not the same as no objection.
func (h *hearing) covered(covered map[Place]bool) truth {
	if len(h.q.Subject.Origins) == 0 {
		f := known(unsure, "where the body that answers for the data is")
		h.reason(&rule{ID: ruleOrigin}, f, judged{}, Unknown, "no origin is given, and no rule binds without one")
		h.lacks(ruleOrigin, f)
		return unsure
	}
	t := yes
	for _, o := range h.q.Subject.Origins {
		if covered[o] {
			continue
		}
		f := known(unsure, "rules for "+string(o))
		h.reason(&rule{ID: ruleOrigin}, f, judged{}, Unknown, "no confirmed rule is known for data from %s at that date", o)
		h.lacks(ruleOrigin, f)
		t = unsure
	}
	return t
}

// located says whether the places are known.
func (h *hearing) located(places []Place, problem string) truth {
	for _, p := range places {
		if name, ok := p.set(); ok && h.rules.sets[name] == nil {
			problem = "the group " + string(p) + " does not say in which country data is; use a region that names its places"
		}
	}
	if problem == "" {
		return yes
	}
	h.reason(&rule{ID: rulePlace}, finding{}, judged{}, Unknown, "where the data would be is not known: %s", problem)
	h.lacks(rulePlace, known(unsure, "the places of the target: "+problem))
	return unsure
}

// evident says whether it is known well enough, and freshly, where somebody else keeps data about patients. Of a disk of
// one's own one's word is enough.
func (h *hearing) evident(places []Place) truth {
	l := &h.q.Target.Location
	if h.q.Subject.Class.judged() < Demographic || !h.q.Target.hosted() {
		return yes
	}
	if l.Provider == "" && l.Level < Observed {
		return h.attested(places)
	}
	out := yes
	object := func(id, fact, text string) {
		h.reason(&rule{ID: id}, finding{}, judged{}, Unknown, "%s", text)
		h.lacks(id, known(unsure, fact))
		out = unsure
	}
	if !h.rules.off[ruleLevel] && l.Level < Observed {
		object(ruleLevel, "a location that the provider's interface shows",
			"data about patients goes to a provider only where its interface shows the location; this one is "+l.Level.String())
	}
	if h.rules.off[ruleAge] || l.Level < Observed {
		return out
	}
	switch age := h.q.Now.Sub(l.At); {
	case l.At.IsZero():
		object(ruleAge, "when the location was looked at", "it is not said when the location was looked at")
	case age < -clockSkew:
		object(ruleAge, "when the location was looked at", "the location was looked at later than now: one of two clocks is wrong")
	case age >= MaxObservationAge:
		object(ruleAge, "a look at the location within 30 days", "the location was looked at more than 30 days ago, and can have changed")
	default:
		h.ends = append(h.ends, Ending{l.At.Add(MaxObservationAge).UTC(), ruleAge})
	}
	return out
}

// attested says whether a paper of whoever runs a target that no interface was asked about says where it is.
func (h *hearing) attested(places []Place) truth {
	if h.rules.off[ruleLevel] {
		return yes
	}
	out := yes
	for _, p := range places {
		if h.attestedIn(p) {
			continue
		}
		f := known(unsure, "paper "+PaperLocation+" that covers "+string(p))
		h.reason(&rule{ID: ruleLevel}, finding{}, judged{place: p}, Unknown, "%s",
			"somebody else runs this target, and says on no paper that it keeps the data here; this location is "+h.q.Target.Location.Level.String())
		h.lacks(ruleLevel, f)
		out = unsure
	}
	return out
}

// attestedIn says whether a paper covers a place by its code, or by that of what it lies in.
func (h *hearing) attestedIn(place Place) bool {
	for _, p := range h.q.Target.Papers {
		for _, in := range p.Scope {
			if p.Kind == PaperLocation && place.within(Place(in)) == yes && h.paper(PaperLocation, in).truth == yes {
				return true
			}
		}
	}
	return false
}

// finish puts the decision in order.
func (d *Decision) finish(ends []Ending) {
	d.Places = sorted(d.Places)
	if len(d.Places) == 0 {
		d.Places = []Place{}
	}
	if d.Verdict != Allowed {
		d.Obligations = nil // they are what makes an allowed target lawful
	}
	slices.Sort(d.Unconfirmed)
	slices.SortFunc(ends, func(a, b Ending) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.By, b.By)) })
	for _, e := range ends {
		if !slices.ContainsFunc(d.Endings, func(x Ending) bool { return x.By == e.By }) {
			d.Endings = append(d.Endings, e)
		}
	}
	if len(d.Endings) > 0 {
		d.Expires, d.ExpiresBy = d.Endings[0].At, d.Endings[0].By
	}
}
