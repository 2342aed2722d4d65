package residency

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// condition is something that a rule needs, such as "paper:dpf-listing/uk-extension" or "custody-in:@EEA,CH".
type condition struct {
	kind   string
	arg    string  // after the colon
	paper  string  // of a paper: its kind
	scope  string  // and what it must cover
	places []Place // of a condition about places
	level  Level
	holder Holder
}

// The kinds of conditions.
const (
	needPaper       = "paper"           // the paper is in place, and covers the scope
	needCustody     = "custody"         // the keys are held by this holder
	needCustodyIn   = "custody-in"      // every place of the keys lies there
	needExposureIn  = "exposure-in"     // operator, parent and support all lie there
	needExposureOut = "exposure-not-in" // none of them does
	needOperatorIn  = "operator-in"     // the operator is established there
	needLevel       = "level"           // the location is known at least so well
	needPermitted   = "permitted-by"    // a permit of that id, or one below it, permits the place
)

// String returns the condition as a file has it.
func (c condition) String() string { return c.kind + ":" + c.arg }

// MarshalText implements [encoding.TextMarshaler].
func (c condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *condition) UnmarshalText(b []byte) error {
	kind, arg, _ := strings.Cut(string(b), ":")
	*c = condition{kind: kind, arg: arg}
	bad := func(want string) error {
		return fmt.Errorf("needs %q: expected %s", strictjson.Clip(string(b)), want)
	}
	switch kind {
	case needPaper:
		var ok bool
		if c.paper, c.scope, ok = cutPaper(arg); !ok {
			return bad("a kind of paper, and a scope after a slash if it must cover that")
		}
	case needCustody:
		if err := c.holder.UnmarshalText([]byte(arg)); err != nil {
			return bad("who holds the keys: " + err.Error())
		}
	case needLevel:
		if err := c.level.UnmarshalText([]byte(arg)); err != nil {
			return bad("how well the location is known: " + err.Error())
		}
	case needCustodyIn, needExposureIn, needExposureOut, needOperatorIn:
		for p := range strings.SplitSeq(arg, ",") {
			c.places = append(c.places, Place(p))
		}
		if err := validPlaces(c.places); err != nil {
			return bad("places between commas: " + err.Error())
		}
	case needPermitted:
		if !strictjson.Slug(arg, "-.") {
			return bad("the id of a permit, or the beginning of some")
		}
	default:
		return bad("paper:, custody:, custody-in:, exposure-in:, exposure-not-in:, operator-in:, level: or permitted-by:")
	}
	return nil
}

// cutPaper splits the words for a paper, such as "scc/2010", into its kind and what it must cover.
func cutPaper(s string) (kind, scope string, ok bool) {
	kind, scope, scoped := strings.Cut(s, "/")
	return kind, scope, strictjson.Slug(kind, "-") && (!scoped || strictjson.Slug(scope, "-."))
}

// names reports whether a permit's id is what the condition asks for.
func (c condition) names(id string) bool {
	return id == c.arg || strings.HasPrefix(id, c.arg+".")
}

// finding is how a rule or a condition fared, and what is missing to know better.
type finding struct {
	truth truth
	value *Value   // the value of the rule in force
	facts []string // that are missing
}

// all is the AND of findings, with the facts that are missing where it is not known.
func all(fs ...finding) finding {
	out := finding{truth: yes}
	for _, f := range fs {
		out.truth = min(out.truth, f.truth)
	}
	for _, f := range fs {
		if f.truth == unsure && out.truth == unsure {
			out.facts = append(out.facts, f.facts...)
		}
	}
	return out
}

// any is the OR of findings, likewise.
func either(fs ...finding) finding {
	out := finding{truth: no}
	for _, f := range fs {
		out.truth = max(out.truth, f.truth)
	}
	for _, f := range fs {
		if f.truth == unsure && out.truth == unsure {
			out.facts = append(out.facts, f.facts...)
		}
	}
	return out
}

// known makes a finding of a truth, and names the fact that is missing where it is not known.
func known(t truth, fact string) finding {
	if t == unsure {
		return finding{truth: t, facts: []string{fact}}
	}
	return finding{truth: t}
}

// met judges a condition about the target and one of its places.
func (h *hearing) met(c condition, p judged) finding {
	target := &h.q.Target
	switch c.kind {
	case needPaper:
		return h.paper(c.paper, c.scope)
	case needCustody:
		if target.Custody.Holder == HolderUnknown {
			return known(unsure, "who holds the keys")
		}
		return known(is(target.Custody.Holder == c.holder), "")
	case needCustodyIn:
		return known(h.allWithin(target.Custody.Places, c.places), "where the keys are held")
	case needLevel:
		return known(is(target.Location.Level >= c.level), "")
	case needOperatorIn:
		return known(h.allWithin(given(target.Exposure.Operator), c.places), "where the operator is established")
	case needExposureIn, needExposureOut:
		return h.exposed(c)
	}
	return h.permitted(c, p)
}

// exposed judges who can reach or be compelled. Operator and parent must be given; support is judged where it is given.
func (h *hearing) exposed(c condition) finding {
	e := &h.q.Target.Exposure
	var fs []finding
	for _, part := range []struct {
		places []Place
		fact   string
		must   bool
	}{
		{given(e.Operator), "where the operator is established", true},
		{given(e.Parent), "where the operator's ultimate parent is", true},
		{e.Support, "from where staff can reach the target", false},
	} {
		if len(part.places) == 0 {
			if part.must {
				fs = append(fs, known(unsure, part.fact))
			}
			continue
		}
		for _, place := range part.places {
			t := h.within(place, c.places)
			if c.kind == needExposureOut {
				t = not(t)
			}
			fs = append(fs, known(t, part.fact))
		}
	}
	return all(fs...)
}

// given returns a list of the place, empty where there is none.
func given(p Place) []Place {
	if p == "" {
		return nil
	}
	return []Place{p}
}

// allWithin says whether every place lies within a list; it is not known where no place is given.
func (h *hearing) allWithin(places, list []Place) truth {
	if len(places) == 0 {
		return unsure
	}
	t := yes
	for _, p := range places {
		t = min(t, h.within(p, list))
	}
	return t
}

// paper says whether a paper of a kind is in place and covers a scope. One that is refuted beats one that is not: to
// contradict oneself is not to know.
func (h *hearing) paper(kind, scope string) finding {
	found, refuted := false, false
	for i := range h.q.Target.Papers {
		p := &h.q.Target.Papers[i]
		if p.Kind != kind || !p.covers(scope) {
			continue
		}
		until := p.Until
		if end := h.rules.paperEnds[kind]; !end.IsZero() && !p.Refuted {
			until = sooner(until, end)
		}
		h.changes(p.From, "paper "+kind)
		h.changes(until, "paper "+kind)
		if p.From.After(h.on) || !until.IsZero() && !until.After(h.on) {
			continue
		}
		found, refuted = found || !p.Refuted, refuted || p.Refuted
	}
	switch {
	case refuted:
		return finding{truth: no}
	case found:
		return finding{truth: yes}
	}
	fact := "paper " + kind
	if scope != "" {
		fact += " that covers " + scope
	}
	return known(unsure, fact)
}

// covers reports whether the paper speaks of a scope. Where it is refuted without a scope it is so in every scope.
func (p *Paper) covers(scope string) bool {
	if scope == "" {
		return !p.Refuted || len(p.Scope) == 0
	}
	return slices.Contains(p.Scope, scope) || p.Refuted && len(p.Scope) == 0
}

// permitted says whether a permit that the condition names permits the place, whomever its regime binds.
func (h *hearing) permitted(c condition, p judged) finding {
	var fs []finding
	for _, other := range h.rules.regimes {
		for _, r := range other.Rules {
			if r.Kind != kindPermit || !c.names(r.ID) || !h.rules.on(r) {
				continue
			}
			if f := h.holds(r, p); f.truth == yes {
				return f
			} else {
				fs = append(fs, f)
			}
		}
	}
	return either(fs...)
}
