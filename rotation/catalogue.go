package rotation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Catalogue is all that [Evaluate] looks at: the points and what happened before that still binds. Its digest binds a
// plan to it.
type Catalogue struct {
	Repository string  `json:"repository"` // id
	Head       string  `json:"head"`       // the log's head, hexadecimal: a plan made from another is stale
	Points     []Point `json:"points,omitempty"`
	Holds      []Hold  `json:"holds,omitempty"`
	// Policies are those adopted so far, oldest first: the caller adds each when it is adopted. The last is the one in
	// force; those before bind by their ratchets. Without them no ratchet works.
	Policies []Revision `json:"policies,omitempty"`
	// Releases are what went so far, at least the last of them and those within the longest budget's time.
	Releases []Release `json:"releases,omitempty"`
}

// Release records that a plan was carried out.
type Release struct {
	At     time.Time `json:"at"` // the plan's Now
	Points int       `json:"points"`
	Bytes  int64     `json:"bytes,omitempty"`
}

// Digest identifies the catalogue: the same points, holds, policies and releases have the same digest, whatever the order
// of points and holds. It is zero for a catalogue that [Evaluate] refuses.
func (c Catalogue) Digest() Digest {
	c, err := c.normal()
	if err != nil {
		return Digest{}
	}
	return digest("catalogue", c)
}

// HighWater is the latest time that is known to have passed: that of the last release or of a point that was observed
// later. It is the least that [Judge] should be given.
//
// Where the store is a disk, its clock is the machine's own, and a run made under a wrong one leaves a point from the
// future. So the mark stops before a leap of more than the policy's MaxForward from one such point to the next. After a
// true pause of that length a witness, or a person who gives Judge a later mark, has to confirm it. The same holds where
// points went without a record in Releases, since then they leave gaps.
func (c Catalogue) HighWater(p TimePolicy) time.Time {
	var mark time.Time
	for _, r := range c.Releases {
		if t := moment(r.At); t.After(mark) {
			mark = t
		}
	}
	var seen []time.Time
	for _, pt := range c.Points {
		if t := moment(pt.Observed); t.After(mark) {
			seen = append(seen, t)
		}
	}
	slices.SortFunc(seen, time.Time.Compare)
	for _, t := range seen {
		if !mark.IsZero() && t.After(later(mark, p.maxForward())) {
			break
		}
		mark = t
	}
	return mark
}

// After returns the catalogue as it is once the plan has been carried out: without the points that were released, with
// what was granted recorded in the others. Keeping those records is what makes grants and promises last; without them
// grants are found again from the order of the log, which is the same unless points were verified late.
//
// The head is the caller's to set. A plan made for another catalogue is an error.
func (c Catalogue) After(p Plan) (Catalogue, error) {
	n, err := c.normal()
	if err != nil {
		return Catalogue{}, fmt.Errorf("catalogue: %w", err)
	}
	if digest("catalogue", n) != p.Catalogue {
		return Catalogue{}, errors.New("catalogue: the plan was made for another catalogue, or for this one before it changed")
	}
	grants := make(map[PointID]Grant, len(p.Grants))
	for _, g := range p.Grants {
		grants[g.Point] = g
	}
	gone := Release{At: p.Time.Now}
	verdicts := make(map[PointID]bool, len(p.Verdicts))
	for _, v := range p.Verdicts {
		verdicts[v.Point] = v.Release
	}
	points := n.Points
	n.Points = make([]Point, 0, len(points))
	for _, pt := range points {
		if verdicts[pt.ID] {
			gone.Points++
			gone.Bytes += pt.Bytes
			continue
		}
		if g, ok := grants[pt.ID]; ok {
			pt.Promoted = slices.Compact(slices.Sorted(slices.Values(slices.Concat(pt.Promoted, g.Buckets))))
			if g.Promise.After(pt.Promise) {
				pt.Promise = g.Promise
			}
		}
		n.Points = append(n.Points, pt)
	}
	if gone.Points > 0 {
		n.Releases = append(slices.Clone(n.Releases), gone)
	}
	return n, nil
}

// normal returns a copy in the order of the log with all times in UTC, or what is wrong with the catalogue. Its errors
// name points by number, since even a damaged id is nothing to print.
func (c Catalogue) normal() (Catalogue, error) {
	if !utf8.ValidString(c.Repository) || !utf8.ValidString(c.Head) {
		return Catalogue{}, errors.New("repository and head must be valid UTF-8")
	}
	c.Points = slices.Clone(c.Points)
	slices.SortStableFunc(c.Points, func(a, b Point) int { return cmp.Compare(a.Seq, b.Seq) })
	ids := make(map[PointID]bool, len(c.Points))
	for i := range c.Points {
		p := &c.Points[i]
		p.Claimed, p.Observed, p.Promise = moment(p.Claimed), moment(p.Observed), moment(p.Promise)
		p.Copies = slices.Clone(p.Copies)
		for j := range p.Copies {
			p.Copies[j].LockedUntil = moment(p.Copies[j].LockedUntil)
		}
		if err := p.validate(); err != nil {
			return Catalogue{}, fmt.Errorf("the point with Seq %d: %w", p.Seq, err)
		}
		switch {
		case ids[p.ID]:
			return Catalogue{}, fmt.Errorf("the point with Seq %d: another has the same id", p.Seq)
		case i > 0 && p.Seq == c.Points[i-1].Seq:
			return Catalogue{}, fmt.Errorf("two points have Seq %d", p.Seq)
		case i > 0 && p.Observed.Before(c.Points[i-1].Observed):
			return Catalogue{}, fmt.Errorf("the point with Seq %d: observed before one that precedes it in the log: "+
				"give the later of the two times", p.Seq)
		}
		ids[p.ID] = true
	}
	c.Holds = slices.Clone(c.Holds)
	slices.SortStableFunc(c.Holds, func(a, b Hold) int { return cmp.Compare(a.ID, b.ID) })
	for i := range c.Holds {
		h := &c.Holds[i]
		h.Placed = moment(h.Placed)
		h.Releases = slices.Clone(h.Releases)
		for j := range h.Releases {
			h.Releases[j].At = moment(h.Releases[j].At)
		}
		if err := h.validate(); err != nil {
			return Catalogue{}, fmt.Errorf("holds[%d]: %w", i, err)
		}
		if i > 0 && h.ID == c.Holds[i-1].ID {
			return Catalogue{}, fmt.Errorf("holds[%d]: another has the same id", i)
		}
	}
	c.Policies = slices.Clone(c.Policies)
	for i := range c.Policies {
		r := &c.Policies[i]
		r.At = moment(r.At)
		switch err := r.Policy.validate(); {
		case err != nil:
			return Catalogue{}, fmt.Errorf("policies[%d]: %w", i, err)
		case r.At.IsZero():
			return Catalogue{}, fmt.Errorf("policies[%d]: say when it was adopted", i)
		case i > 0 && r.At.Before(c.Policies[i-1].At):
			return Catalogue{}, fmt.Errorf("policies[%d]: adopted before the one that it replaced", i)
		}
	}
	c.Releases = slices.Clone(c.Releases)
	for i := range c.Releases {
		r := &c.Releases[i]
		r.At = moment(r.At)
		if r.At.IsZero() || r.Points < 0 || r.Bytes < 0 {
			return Catalogue{}, fmt.Errorf("releases[%d]: a time is needed, and numbers that are not negative", i)
		}
	}
	return c, nil
}

func (p Point) validate() error {
	switch {
	case p.ID == "" || !utf8.ValidString(string(p.ID)):
		return errors.New("an id is needed, in valid UTF-8")
	case !utf8.ValidString(p.Lineage):
		return errors.New("the lineage must be valid UTF-8")
	case p.Observed.IsZero():
		return errors.New("say when it was observed")
	case !p.Day.IsZero() && !p.Day.Valid():
		return errors.New("its day is not a date of the calendar")
	case int(p.Verified) >= len(assuranceNames):
		return fmt.Errorf("verified: expected one of %q", assuranceNames)
	case p.Bytes < 0:
		return errors.New("bytes must not be negative")
	}
	for _, c := range p.Copies {
		if int(c.Verified) >= len(assuranceNames) {
			return fmt.Errorf("a copy's verified: expected one of %q", assuranceNames)
		}
	}
	return nil
}
