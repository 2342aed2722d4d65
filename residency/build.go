package residency

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// build makes the ruleset of its files, and refuses what does not fit together.
func (r *Ruleset) build() error {
	r.regimes, r.sets, r.tags = nil, map[string][]span{}, map[Tag]string{}
	r.papers = map[string]string{PaperLocation: paperLocationMeaning}
	steps := []func([]*regime) error{r.buildNames, r.buildSets, r.buildRegimes, r.buildReviews, r.checkRegimes}
	for _, step := range steps {
		if err := step(r.decoded); err != nil {
			return err
		}
	}
	for _, g := range r.regimes {
		for i, one := range g.Rules {
			if end := r.ends[one.ID]; !end.IsZero() {
				ended := *one
				ended.Values = one.Values.before(end)
				g.Rules[i] = &ended
			}
		}
	}
	var err error
	r.digest, err = r.sum()
	return err
}

// buildNames collects the kinds of papers and the tags. Each has one meaning, whoever asks for it.
func (r *Ruleset) buildNames(decoded []*regime) error {
	for _, g := range decoded {
		for kind, meaning := range g.Papers {
			if had, ok := r.papers[kind]; ok && had != meaning {
				return g.where.fail("", kind, fmt.Errorf("papers: %s has another meaning in another file", kind))
			}
			r.papers[kind] = meaning
		}
		for tag, meaning := range g.Tags {
			if had, ok := r.tags[tag]; ok && had != meaning {
				return g.where.fail("", string(tag), fmt.Errorf("tags: %s has another meaning in another file", tag))
			}
			r.tags[tag] = meaning
		}
	}
	return nil
}

func (r *Ruleset) buildSets(decoded []*regime) error {
	sets := map[string]*set{}
	for _, g := range decoded {
		for _, s := range g.sets {
			if sets[s.ID] != nil {
				return s.where.fail("@"+s.ID, "id", errors.New("id: there is another set of that name"))
			}
			sets[s.ID] = s
		}
	}
	for _, id := range slices.Sorted(maps.Keys(sets)) {
		s := sets[id]
		spans, err := flatten(sets, id, nil)
		if err != nil {
			return s.where.fail("@"+id, "members", err)
		}
		r.sets[id] = spans
	}
	return nil
}

// buildRegimes puts the regimes in order, each with the rules of the files that extend it.
func (r *Ruleset) buildRegimes(decoded []*regime) error {
	for _, g := range decoded {
		if g.ID == "" {
			continue
		}
		if r.regime(g.ID) != nil {
			return g.where.fail("", "regime", fmt.Errorf("regime: there is another file of %s; write extends", g.ID))
		}
		own := *g
		own.Rules = nil
		r.regimes = append(r.regimes, &own)
		if err := r.addRules(&own, g.Rules); err != nil {
			return err
		}
	}
	slices.SortFunc(r.regimes, func(a, b *regime) int { return strings.Compare(a.ID, b.ID) })
	for _, g := range decoded {
		if g.Extends == "" {
			continue
		}
		own := r.regime(g.Extends)
		if own == nil {
			return g.where.fail("", "extends", fmt.Errorf("extends: there is no regime %s", strictjson.Clip(g.Extends)))
		}
		if err := r.addRules(own, g.Rules); err != nil {
			return err
		}
	}
	return nil
}

// addRules adds rules to a regime, or amends those that are there.
func (r *Ruleset) addRules(g *regime, rules []*rule) error {
	for _, one := range rules {
		i := slices.IndexFunc(g.Rules, func(o *rule) bool { return o.ID == one.ID })
		switch {
		case i < 0 && one.Amends:
			return one.where.fail(one.ID, "amends", errors.New("amends: there is no rule of that name to amend"))
		case i >= 0 && !one.Amends:
			return one.where.fail(one.ID, "id", errors.New("id: there is another rule of that name; to add values to it, write amends"))
		case one.Kind == kindPermit && g.Default == "allow":
			return one.where.fail(one.ID, "kind", errors.New("kind: a permit changes nothing where the default is allow; write an oblige"))
		case i < 0:
			g.Rules = append(g.Rules, one)
			continue
		}
		amended := *g.Rules[i]
		amended.Values = slices.Concat(amended.Values, one.Values)
		amended.Sources = slices.Concat(amended.Sources, one.Sources)
		amended.Confirmed = amended.Confirmed || one.Confirmed
		if !one.Checked.Before(amended.Checked) { // an older look does not undo that of a newer release
			amended.Checked, amended.ReviewBy = one.Checked, one.ReviewBy
		}
		if one.Note != "" {
			amended.Note = strings.TrimSpace(amended.Note + " " + one.Note)
		}
		if err := amended.validate(); err != nil {
			return one.where.fail(one.ID, err.field, err)
		}
		g.Rules[i] = &amended
	}
	return nil
}

// checkRegimes refuses names that nothing has.
func (r *Ruleset) checkRegimes([]*regime) error {
	for _, g := range r.regimes {
		if err := r.checkNames(g.Binds.Origins, g.Binds.Tags); err != nil {
			return g.where.fail("", "binds", fmt.Errorf("binds: %w", err))
		}
		for _, one := range g.Rules {
			if field, err := r.checkRule(one); err != nil {
				return one.where.fail(one.ID, field, fmt.Errorf("%s: %w", field, err))
			}
		}
	}
	return nil
}

func (r *Ruleset) checkNames(places []Place, tags []Tag) error {
	for _, p := range places {
		if name, ok := p.set(); ok && r.sets[name] == nil {
			return fmt.Errorf("set %s is in no file", p)
		}
	}
	for _, t := range tags {
		if _, ok := r.tags[t]; !ok {
			return fmt.Errorf("tag %q is in no file; write its meaning under tags", strictjson.Clip(string(t)))
		}
	}
	return nil
}

// checkRule refuses names in a rule that nothing has, and returns the field.
func (r *Ruleset) checkRule(one *rule) (field string, err error) {
	for _, part := range []struct {
		field  string
		places []Place
		tags   []Tag
	}{
		{"places", one.Places, nil}, {"exceptPlaces", one.ExceptPlaces, nil}, {"when", one.When.Origins, slices.Concat(one.When.Tags, one.When.ExceptTags)},
	} {
		if err := r.checkNames(part.places, part.tags); err != nil {
			return part.field, err
		}
	}
	for _, c := range one.Needs {
		if err := r.checkCondition(c); err != nil {
			return "needs", err
		}
	}
	for _, c := range slices.Concat(one.AnyOf...) {
		if err := r.checkCondition(c); err != nil {
			return "anyOf", err
		}
	}
	if one.Grandfather != nil {
		for _, paper := range one.Grandfather.Papers {
			kind, _, _ := cutPaper(paper)
			if err := r.checkPaper(kind); err != nil {
				return "grandfather", err
			}
		}
	}
	return "", nil
}

func (r *Ruleset) checkCondition(c condition) error {
	switch c.kind {
	case needPaper:
		return r.checkPaper(c.paper)
	case needPermitted:
		return r.checkPermits(c)
	}
	return r.checkNames(c.places, nil)
}

func (r *Ruleset) checkPaper(kind string) error {
	if _, ok := r.papers[kind]; !ok {
		return fmt.Errorf("papers of kind %s are in no file; write their meaning under papers", strictjson.Clip(kind))
	}
	return nil
}

// checkPermits refuses a condition that no permit can meet, or that goes round in a circle.
func (r *Ruleset) checkPermits(c condition) error {
	found := false
	for _, g := range r.regimes {
		for _, one := range g.Rules {
			if one.Kind != kindPermit || !c.names(one.ID) {
				continue
			}
			found = true
			if slices.ContainsFunc(one.conditions(), func(c condition) bool { return c.kind == needPermitted }) {
				return fmt.Errorf("%s itself needs permits of others", one.ID)
			}
		}
	}
	if !found {
		return fmt.Errorf("no permit is called %s", c.arg)
	}
	return nil
}
