package rotation

import "time"

// Admission is what a point would be given that is added now.
type Admission struct {
	Verdict Verdict
	Grant   Grant
	// Lock is until when its copies should be locked at their providers: as long as its age keeps it, and at most the
	// policy's MaxLock from now. Zero: not at all, which it always is when the clock is not usable. A wrong clock that
	// locks for ten years cannot be taken back.
	Lock time.Time
}

// Admit says what the policy gives the point once it is in the catalogue, which does not hold it yet. A point is granted
// buckets when it is verified, so the same point may be given more later.
func Admit(p Policy, c Catalogue, pt Point, v TimeVerdict) (Admission, error) {
	c.Points = append(c.Points[:len(c.Points):len(c.Points)], pt)
	plan, err := Evaluate(p, c, v)
	if err != nil {
		return Admission{}, err
	}
	var a Admission
	a.Verdict, _ = plan.Verdict(pt.ID)
	a.Grant.Point = pt.ID
	for _, g := range plan.Grants {
		if g.Point == pt.ID {
			a.Grant = g
		}
	}
	if plan.Time.Usable {
		var end Day
		for _, r := range a.Verdict.Reasons {
			if r.Code == CodeTier && r.Until.After(end) {
				end = r.Until
			}
		}
		if limit := until(p.maxLock(), p.Zone.BusinessDay(plan.Time.Now)); end.After(limit) {
			end = limit
		}
		if !end.IsZero() {
			a.Lock = moment(p.Zone.begin(end))
		}
	}
	return a, nil
}
