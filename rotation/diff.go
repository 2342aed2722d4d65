package rotation

import "fmt"

// Change is a point of which a new policy decides otherwise than the old one.
type Change struct {
	Point   PointID `json:"point"`
	Lineage string  `json:"lineage"`
	Day     Day     `json:"day"`
	// Release: the old policy keeps it and the new one lets it go. Otherwise it is the reverse.
	Release bool     `json:"release"`
	Was     []Reason `json:"was"` // the old policy's
	Now     []Reason `json:"now"` // the new policy's
}

// Diff says what a change of policy would release and what it would newly keep, in the order of the log. It compares the
// policies themselves: neither budgets nor ratchets are looked at, which only delay what it shows. Promises, holds, locks
// and an unusable clock count, as they do in [Evaluate].
func Diff(old, new Policy, c Catalogue, v TimeVerdict) ([]Change, error) {
	was, err := evaluate(old, c, v, options{})
	if err != nil {
		return nil, fmt.Errorf("the old one: %w", err)
	}
	now, err := evaluate(new, c, v, options{})
	if err != nil {
		return nil, fmt.Errorf("the new one: %w", err)
	}
	var changes []Change
	for i, w := range was.Verdicts {
		n := now.Verdicts[i]
		if w.Release != n.Release {
			changes = append(changes, Change{
				Point: n.Point, Lineage: n.Lineage, Day: n.Day, Release: n.Release, Was: w.Reasons, Now: n.Reasons,
			})
		}
	}
	return changes, nil
}
