package residency

import (
	"strings"
)

// judge asks the regime about every place, and says whether it denies nothing.
func (h *hearing) judge() truth {
	places := h.judgedPlaces()
	out := yes
	if h.regime.Default == "allow" {
		out = h.reviewed()
	}
	for _, p := range places {
		h.said.Places = append(h.said.Places, p.place)
		out = min(out, h.judgePlace(p))
	}
	if out == yes && len(places) > 0 && h.regime.Default == "allow" {
		h.reason(nil, finding{}, judged{}, Allowed, "%s: nothing in it denies this", h.regime.Title)
	}
	return out
}

// reviewed says whether somebody looks at every rule in time. Where silence allows, it can be trusted only so long: a
// rule that does not speak about the target may do so by now.
func (h *hearing) reviewed() truth {
	out := yes
	for _, r := range h.regime.Rules {
		if !h.rules.on(r) {
			continue
		}
		if _, stale := h.stale(r); stale {
			f := known(unsure, "review of "+r.ID)
			h.reason(r, f, judged{}, Unknown, "%s: its review was due by %s", r.Title, r.ReviewBy)
			h.lacks(r.ID, f)
			out = unsure
		}
	}
	return out
}

// judgePlace asks the demands and the forbids, and for a permit where one is needed.
func (h *hearing) judgePlace(p judged) truth {
	out := yes
	for _, r := range h.regime.Rules {
		if r.Kind == kindPermit {
			continue
		}
		if !h.rules.on(r) {
			h.unconfirmed(r, p)
			continue
		}
		switch r.Kind {
		case kindForbid:
			out = min(out, h.forbid(r, p))
		case kindDemand:
			out = min(out, h.demand(r, p))
		case kindOblige:
			h.oblige(r, p)
		}
	}
	if h.regime.Default == "deny" {
		out = min(out, h.permit(p))
	}
	return out
}

func (h *hearing) forbid(r *rule, p judged) truth {
	f := h.holds(r, p)
	switch f.truth {
	case yes:
		h.reason(r, f, p, Denied, "%s", r.Title)
	case unsure:
		h.reason(r, f, p, Unknown, "%s: not known whether it applies: %s", r.Title, strings.Join(f.facts, ", "))
		h.lacks(r.ID, f)
	}
	return not(f.truth)
}

// demand judges what a rule demands. Where it is not known whether it demands that, what is met suffices all the same.
func (h *hearing) demand(r *rule, p judged) truth {
	scope := h.scope(r, p)
	if scope == no {
		return yes
	}
	f, stale := h.stale(r)
	if !stale {
		v := h.value(r)
		if v == nil {
			return yes
		}
		f = h.needs(r, p)
		f.value = v
	}
	if f.truth < yes && scope == unsure {
		f = either(h.vague(r, p), f)
	}
	h.owes(r, f.value)
	switch f.truth {
	case yes:
		h.reason(r, f, judged{}, Allowed, "%s: met", r.Title)
	case unsure:
		h.reason(r, f, p, Unknown, "%s: not known whether it is met: %s", r.Title, strings.Join(f.facts, ", "))
		h.lacks(r.ID, f)
	case no:
		h.reason(r, f, p, Denied, "%s: not met", r.Title)
	}
	return f.truth
}

// oblige adds what a rule obliges to, also where it is not known whether it does.
func (h *hearing) oblige(r *rule, p judged) {
	if h.scope(r, p) == no {
		return
	}
	if _, stale := h.stale(r); stale {
		h.warn("%s: its review was due by %s", r.ID, r.ReviewBy)
	}
	if v := h.value(r); v != nil {
		h.owes(r, v)
	}
}

// tried is a permit that was asked and does not permit.
type tried struct {
	rule *rule
	finding
}

// permit looks for a permit of a place: the first in the file that holds is used, and the answer rests on it alone.
func (h *hearing) permit(p judged) truth {
	best, mark := no, len(h.ends)
	var others []tried
	for _, r := range h.regime.Rules {
		if r.Kind != kindPermit || !h.rules.on(r) {
			continue
		}
		from := len(h.ends)
		f := h.holds(r, p)
		if f.truth == yes {
			h.rests(mark, from)
			h.reason(r, f, p, Allowed, "%s", r.Title)
			h.owes(r, f.value)
			return yes
		}
		best = max(best, f.truth)
		others = append(others, tried{r, f})
	}
	for _, o := range others {
		h.refused(o, p)
	}
	for _, r := range h.regime.Rules {
		if r.Kind == kindPermit && !h.rules.on(r) {
			h.unconfirmed(r, p)
		}
	}
	if best == no {
		h.reason(nil, finding{}, p, Denied, "%s: nothing in it permits %s", h.regime.Title, p)
	}
	return best
}

// refused says why a permit does not permit a place that it is about.
func (h *hearing) refused(o tried, p judged) {
	r := o.rule
	if o.truth == unsure {
		h.reason(r, o.finding, p, Unknown, "%s: not known: %s", r.Title, strings.Join(o.facts, ", "))
		h.lacks(r.ID, o.finding)
		return
	}
	mark := len(h.ends)
	scope := h.scope(r, p)
	h.ends = h.ends[:mark]
	f := finding{value: h.lapsed(r)}
	switch {
	case scope == no:
	case o.value != nil:
		h.reason(r, o.finding, p, Denied, "%s: what it needs does not hold", r.Title)
	case len(r.Places) == 0: // to say of each tool of old that it is gone would hide the rest
	case f.value == nil:
		h.reason(r, f, p, Denied, "%s: not yet in force on %s", r.Title, h.on)
	default:
		h.reason(r, f, p, Denied, "%s: no longer in force on %s", r.Title, h.on)
	}
}

// lapsed returns the last value that is over by the day, as far as was known.
func (h *hearing) lapsed(r *rule) *Value {
	var last *Value
	for i := range r.Values {
		v := &r.Values[i]
		if r.Values.visible(v, h.q.Known) && !v.Until.IsZero() && !v.Until.After(h.on) && (last == nil || v.Until.After(last.Until)) {
			last = v
		}
	}
	return last
}
