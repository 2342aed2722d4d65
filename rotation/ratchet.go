package rotation

import (
	"fmt"
	"slices"
	"time"
)

// Revision is a policy and when it was adopted.
type Revision struct {
	Policy Policy    `json:"policy"`
	At     time.Time `json:"at"` // by a witness' clock
}

// lookBack adds what the policies say that were replaced less than their ratchets ago.
func (e *evaluation) lookBack(p Policy) {
	past := e.c.Policies
	replaced := e.now // a policy that is not recorded yet replaces the last one now
	current := p.Digest()
	for i := len(past) - 1; i >= 0; i-- {
		old := past[i].Policy
		if i == len(past)-1 && old.Digest() == current {
			replaced = past[i].At
			continue
		}
		// It binds for whole business days, as ages and promises do.
		until := later(replaced, old.Ratchet)
		if e.views[0].today.Before(firstDayAfter(p.Zone, until)) && old.Digest() != current {
			e.look(old, until, nil)
		}
		replaced = past[i].At
	}
}

// ratchet adds why a policy that was replaced keeps a point.
func (e *evaluation) ratchet(i int, old *view) {
	reasons := slices.Concat(old.keeps[i], old.suspended[e.c.Points[i].Lineage])
	if old.rule[i] < 0 {
		reasons = append(reasons, Reason{Code: CodeNoRule, Text: "no rule of it names the lineage"})
	}
	if len(reasons) == 0 {
		return
	}
	// The reason that lasts longest by itself. One that ends by no date, such as a count, may end any day.
	r := reasons[0]
	for _, x := range reasons {
		if x.Until.After(r.Until) {
			r = x
		}
	}
	bound := firstDayAfter(e.views[0].policy.Zone, old.until)
	end := r.Until
	if bound.Before(end) {
		end = bound
	}
	e.keeps[i] = append(e.keeps[i], Reason{Code: CodeRatchet, Rule: "ratchet", Until: end,
		Text: fmt.Sprintf("a policy that binds until %s keeps it: %s", bound, r.Text)})
}
