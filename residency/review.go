package residency

import (
	"cmp"
	"errors"
	"slices"
)

// review says that somebody read the sources of rules again and found their text unchanged.
type review struct {
	By       string   `json:"by"`
	Rules    []string `json:"rules"`
	Checked  Day      `json:"checked"`
	ReviewBy Day      `json:"reviewBy"`
	Sources  []string `json:"sources"`

	where located
}

func (v *review) validate() *fieldError {
	switch {
	case v.By == "":
		return &fieldError{"by", "expected who read the sources and answers for it"}
	case len(v.Rules) == 0:
		return &fieldError{"rules", "expected the rules that were read again, each by its id"}
	case v.ReviewBy.IsZero():
		return &fieldError{"reviewBy", "expected the day of the next review"}
	}
	return validLook(v.Sources, v.Checked, v.ReviewBy)
}

// validLook refuses a look at sources that is not dated, or is to be believed for too long.
func validLook(sources []string, checked, reviewBy Day) *fieldError {
	switch {
	case !sourced(sources):
		return &fieldError{"sources", "expected at least one source"}
	case !checked.Valid():
		return &fieldError{"checked", "expected the day on which the sources were read"}
	case !reviewBy.IsZero() && (!reviewBy.Valid() || reviewBy.Before(checked)):
		return &fieldError{"reviewBy", "expected a day that is not before the one on which it was checked"}
	case !reviewBy.IsZero() && reviewBy.After(checked.AddYears(1)):
		return &fieldError{"reviewBy", "expected a day within a year of the one on which it was checked"}
	}
	return nil
}

// buildReviews applies the reviews of all files, in the order in which somebody looked. One that is not later than the last
// look at a rule says nothing new about it: what was then read is of another day, and may be another text.
func (r *Ruleset) buildReviews(decoded []*regime) error {
	var all []*review
	for _, g := range decoded {
		all = append(all, g.reviews...)
	}
	slices.SortStableFunc(all, func(a, b *review) int { return cmp.Or(a.Checked.Sub(b.Checked), cmp.Compare(a.By, b.By)) })
	for _, v := range all {
		for _, id := range v.Rules {
			if err := r.review(v, id); err != nil {
				return v.where.fail(id, "rules", err)
			}
		}
	}
	return nil
}

func (r *Ruleset) review(v *review, id string) error {
	for _, g := range r.regimes {
		i := slices.IndexFunc(g.Rules, func(one *rule) bool { return one.ID == id })
		if i < 0 {
			continue
		}
		if one := *g.Rules[i]; v.Checked.After(one.Checked) {
			one.Checked, one.ReviewBy, one.ReviewedBy = v.Checked, v.ReviewBy, v.By
			one.Sources = slices.Concat(one.Sources, v.Sources)
			g.Rules[i] = &one
		}
		return nil
	}
	return errors.New("rules: there is no rule of that name")
}
