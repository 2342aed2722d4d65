package rotation

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// HoldID names a hold, such as "H-7".
type HoldID string

// Hold keeps points for a legal or clinical reason, for as long as it stands: it has no end date, no change of policy
// ends it, and it binds media and keys too. It stands until two different people have released it.
type Hold struct {
	ID HoldID `json:"id"`
	// Matter says why, such as "coroner 118/26". It may name people: no plan, reason or error repeats it.
	Matter   string     `json:"matter,omitempty"`
	Scope    Scope      `json:"scope,omitzero"`
	PlacedBy string     `json:"placedBy"`
	Placed   time.Time  `json:"placed"`
	Releases []Approval `json:"releases,omitempty"`
}

// Approval is one person's consent to end a hold.
type Approval struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Scope says which points a hold covers: those that meet every part that is given. The zero Scope covers all.
type Scope struct {
	Lineage string    `json:"lineage,omitempty"`
	Class   string    `json:"class,omitempty"` // one of [Point.Classes]
	From    Day       `json:"from,omitzero"`   // first day covered
	To      Day       `json:"to,omitzero"`     // last day covered
	Points  []PointID `json:"points,omitempty"`
}

// Stands says whether the hold is in force. Names that differ in case or surrounding space are one person.
func (h Hold) Stands() bool {
	var first string
	for _, r := range h.Releases {
		by := strings.ToLower(strings.Join(strings.Fields(r.By), " "))
		switch {
		case by == "" || by == first:
		case first == "":
			first = by
		default:
			return false
		}
	}
	return true
}

// Covers says whether the point, which stands for the given day, is in the hold's scope or names the hold. It does not
// ask whether the hold stands.
//
// A point without classes is covered by a hold on a class: what it contains is not known.
func (h Hold) Covers(p Point, day Day) bool {
	if slices.Contains(p.Holds, h.ID) {
		return true
	}
	s := h.Scope
	return (s.Lineage == "" || s.Lineage == p.Lineage) &&
		(s.Class == "" || len(p.Classes) == 0 || slices.Contains(p.Classes, s.Class)) &&
		(s.From.IsZero() || !day.Before(s.From)) &&
		(s.To.IsZero() || !day.After(s.To)) &&
		(len(s.Points) == 0 || slices.Contains(s.Points, p.ID))
}

func (h Hold) validate() error {
	switch {
	case h.ID == "":
		return errors.New("it needs an id")
	case h.PlacedBy == "" || h.Placed.IsZero():
		return errors.New("say who placed it and when")
	case !h.Scope.From.IsZero() && !h.Scope.To.IsZero() && h.Scope.To.Before(h.Scope.From):
		return errors.New("its last day lies before its first")
	}
	for _, r := range h.Releases {
		if r.By == "" || r.At.IsZero() {
			return errors.New("a release needs a name and a time")
		}
	}
	return nil
}
