package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// location loads a place of the time zone database.
func location(t testing.TB, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

// keep is a policy of one rule for all lineages, with a budget that is never in the way.
func keep(t testing.TB, tiers ...rotation.Tier) rotation.Policy {
	p := rotation.Policy{
		Zone:   rotation.Zone{Location: location(t, "Australia/Sydney"), DayStart: rotation.Clock{Hour: 4}},
		Rules:  []rotation.Rule{{Lineages: []string{"*"}, Tiers: tiers}},
		Budget: rotation.Budget{Percent: 100, Per: rotation.Span{Days: 1}},
	}
	require.NoError(t, p.Validate())
	return p
}

// series makes points as a log would hold them.
type series struct {
	c   rotation.Catalogue
	loc *time.Location
	now time.Time
}

func newSeries(t testing.TB, start string) *series {
	s := &series{loc: location(t, "Australia/Sydney")}
	s.c.Repository, s.c.Head = "0123456789abcdef", "00"
	at, err := time.ParseInLocation("2006-01-02 15:04", start, s.loc)
	require.NoError(t, err)
	s.now = at
	return s
}

// add appends a good point that is observed now; change alters it first.
func (s *series) add(change ...func(*rotation.Point)) rotation.PointID {
	seq := uint64(1)
	if n := len(s.c.Points); n > 0 {
		seq = s.c.Points[n-1].Seq + 1
	}
	p := rotation.Point{
		ID: rotation.PointID(fmt.Sprintf("rp-%06d", seq)), Lineage: "clinic-sql", Seq: seq, Claimed: s.now, Observed: s.now,
		Complete: true, Verified: rotation.ReadBack, Bytes: 100,
	}
	for _, f := range change {
		f(&p)
	}
	s.c.Points = append(s.c.Points, p)
	return p.ID
}

// days moves the clock by whole civil days.
func (s *series) days(n int) { s.now = s.now.AddDate(0, 0, n) }

// nights adds one point for each of n nights, and leaves the clock at the last of them.
func (s *series) nights(n int, change ...func(*rotation.Point)) (ids []rotation.PointID) {
	for i := range n {
		if i > 0 {
			s.days(1)
		}
		ids = append(ids, s.add(change...))
	}
	return ids
}

// verdict is of a clock that can be believed.
func (s *series) verdict() rotation.TimeVerdict {
	return rotation.TimeVerdict{Usable: true, Now: s.now}
}

// plan evaluates, and checks what holds for every plan.
func (s *series) plan(t testing.TB, p rotation.Policy) rotation.Plan {
	plan, err := rotation.Evaluate(p, s.c, s.verdict())
	require.NoError(t, err)
	return plan
}

// apply carries a plan out.
func (s *series) apply(t testing.TB, plan rotation.Plan) {
	c, err := s.c.After(plan)
	require.NoError(t, err)
	s.c = c
}

func unverified(p *rotation.Point) { p.Verified = rotation.Unverified }

func lineage(name string) func(*rotation.Point) {
	return func(p *rotation.Point) { p.Lineage = name }
}

// of counts how many of the ids are in the set.
func of(ids []rotation.PointID, set []rotation.PointID) (n int) {
	in := map[rotation.PointID]bool{}
	for _, id := range set {
		in[id] = true
	}
	for _, id := range ids {
		if in[id] {
			n++
		}
	}
	return n
}

// codes lists the codes of a point's reasons.
func codes(p rotation.Plan, id rotation.PointID) (cs []string) {
	for _, r := range p.Explain(id) {
		cs = append(cs, r.Code)
	}
	return cs
}
