package rotation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Keeper chooses points by other rules than those of a [Policy]. Package compat has some.
type Keeper interface {
	// Keep returns the points to keep, with the names of the rules that keep them. All are of one lineage and in the order
	// of the log. It must not change them, and must give the same for the same.
	Keep(points []Point, now time.Time) map[PointID][]string
}

// EvaluateLike makes a plan of what a Keeper keeps of each lineage, which is less safe than [Evaluate]. The policy must
// have no rules: its zone, budget, time and lag count. Beyond the Keeper's choice the newest verified point of each
// lineage stays, and what quarantine, holds, legal locks, promises, dependents, the clock, earlier policies and the
// budget keep.
//
// The plan's Policy is the digest of the policy together with the Keeper's type and JSON.
func EvaluateLike(k Keeper, p Policy, c Catalogue, v TimeVerdict) (Plan, error) {
	if len(p.Rules) > 0 {
		return Plan{}, fmt.Errorf("policy: rules: leave them out where %T decides", k)
	}
	if err := p.Budget.validate(); err != nil {
		return Plan{}, fmt.Errorf("policy: budget: %w", err)
	}
	b, err := json.Marshal(k)
	if err != nil {
		return Plan{}, fmt.Errorf("keeper: %w", err)
	}
	plan, err := evaluate(p, c, v, options{bound: true, keeper: k})
	if err != nil {
		return Plan{}, err
	}
	plan.Policy = digest("policy and keeper", struct {
		Policy Policy          `json:"policy"`
		Type   string          `json:"type"`
		Keeper json.RawMessage `json:"keeper"`
	}{p, fmt.Sprintf("%T", k), b})
	return plan, nil
}

// like adds what the Keeper says of a lineage.
func (w *view) like(k Keeper, c Catalogue, name string, members []int, now time.Time) {
	points := make([]Point, len(members))
	for j, i := range members {
		points[j] = c.Points[i]
	}
	kept := k.Keep(slices.Clone(points), now)
	for _, i := range members {
		w.rule[i] = 0
		rules, ok := kept[c.Points[i].ID]
		if ok {
			w.keeps[i] = append(w.keeps[i], Reason{Code: CodeTier, Rule: "keeper", Text: strings.Join(rules, ", ")})
		} else {
			w.gone[i] = append(w.gone[i], Reason{Code: CodeSurplus, Rule: "keeper", Text: "no rule keeps it"})
		}
	}
	w.floors(c, name, members, nil, "keeper")
}
