package rotation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// The attacks on retention that count, and what stays of 400 good nights under 7 days, 5 weeks, 12 months and 3 years.
// The same rules leave restic 22 points before and 0 or 1 after the first two attacks, and kopia 10 of 25.
func TestAttackTable(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	var table strings.Builder
	row := func(name string, genuine, aside int, note string) {
		fmt.Fprintf(&table, "| %-48s | %3d | %3d | %s |\n", name, genuine, aside, note)
	}
	// Every night is planned and carried out, as in life.
	nightly := newSeries(t, "2026-01-01 20:00")
	for i := range 400 {
		if i > 0 {
			nightly.days(1)
		}
		nightly.add()
		nightly.apply(t, nightly.plan(t, p))
	}
	begin := func() (*series, []rotation.PointID) {
		s := *nightly
		var ids []rotation.PointID
		for _, pt := range s.c.Points {
			ids = append(ids, pt.ID)
		}
		s.c.Points = slices.Clone(s.c.Points)
		return &s, ids
	}
	aside := func(plan rotation.Plan) (n int) {
		for _, v := range plan.Verdicts {
			if v.Reasons[0].Code == rotation.CodeQuarantine {
				n++
			}
		}
		return n
	}

	s, genuine := begin()
	base := len(genuine)
	require.Equal(t, 23, base)
	row("baseline, planned every night", base, 0, "")
	once := newSeries(t, "2026-01-01 20:00")
	once.nights(400)
	require.Equal(t, genuine, once.plan(t, p).Keeps(), "one plan after 400 nights keeps the same")

	future := func(pt *rotation.Point) { pt.Claimed = pt.Observed.AddDate(10, 0, 0) }
	s.add(future)
	plan := s.plan(t, p)
	require.Equal(t, base, of(genuine, plan.Keeps()))
	require.Equal(t, 1, aside(plan))
	row("1 point from the future", of(genuine, plan.Keeps()), aside(plan), "")

	s, genuine = begin()
	for i := range 19 {
		s.add(func(pt *rotation.Point) { pt.Claimed = pt.Observed.AddDate(i, i, 1+i) })
	}
	plan = s.plan(t, p)
	require.Equal(t, base, of(genuine, plan.Keeps()))
	require.Equal(t, 19, aside(plan))
	row("19 points from the future", of(genuine, plan.Keeps()), aside(plan), "")
	s.apply(t, plan)
	s.days(1)
	s.add()
	plan = s.plan(t, p)
	require.Equal(t, base-1, of(genuine, plan.Keeps()))
	row("19 points from the future, one night on", of(genuine, plan.Keeps()), aside(plan), "1 goes as it would have")

	s, genuine = begin()
	for i := range 400 {
		s.add(func(pt *rotation.Point) {
			pt.Claimed = pt.Observed.AddDate(0, 0, -i).Add(3 * time.Hour).Add(-24 * time.Hour)
		})
	}
	plan = s.plan(t, p)
	require.Equal(t, base, of(genuine, plan.Keeps()))
	require.Equal(t, 393, aside(plan))
	require.Len(t, plan.Releases(), 6, "shadows of the days that a long run may claim are surplus, but for the newest point")
	row("400 back-dated shadows at the end of each day", of(genuine, plan.Keeps()), aside(plan), "6 shadows are surplus")

	s, genuine = begin()
	for range 60 {
		s.days(1)
		s.add(unverified)
		s.apply(t, s.plan(t, p))
	}
	plan = s.plan(t, p)
	require.Equal(t, base, of(genuine, plan.Keeps()))
	row("60 nights of garbage that no check passes", of(genuine, plan.Keeps()), aside(plan), "nothing displaced")

	s, genuine = begin()
	forward := rotation.Reading{Wall: s.now.AddDate(10, 0, 0)}
	v := rotation.Judge(forward, s.c.HighWater(p.Time), p.Time)
	require.False(t, v.Usable)
	plan, err := rotation.Evaluate(p, s.c, v)
	require.NoError(t, err)
	require.Empty(t, plan.Releases())
	require.Equal(t, rotation.CodeClock, plan.Notes[0].Code)
	row("clock ten years ahead", of(genuine, plan.Keeps()), 0, "refuses: "+plan.Notes[0].Text)

	s, genuine = begin()
	s.days(59)
	s.add()
	plan = s.plan(t, p)
	require.Equal(t, base-3, of(genuine, plan.Keeps()))
	row("off for 59 days, then one run", of(genuine, plan.Keeps()), 0, "it takes the place of a day, a week and a month")
	t.Logf("\n| %-48s | own | aside |\n%s", "attack", table.String())
}

// A writer's key is stolen and the thief follows the rules: points that pass every check, every night, before and after
// the genuine one. What was admitted keeps its days.
func TestStolenWriterKey(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(100)
	s.apply(t, s.plan(t, p))
	named := map[rotation.PointID]rotation.Day{}
	for _, v := range s.plan(t, p).Verdicts {
		named[v.Point] = v.Earliest
	}
	for range 500 {
		s.now = s.now.Add(6 * time.Hour)
		s.add()
		plan := s.plan(t, p)
		for _, id := range plan.Releases() {
			require.False(t, p.Zone.BusinessDay(s.now).Before(named[id]), "%s was to stay until %s", id, named[id])
		}
		s.apply(t, plan)
	}
}

// On a disk the store's clock is the machine's. A run under a clock ten years ahead makes a point that agrees with it, and
// still nothing goes; nor is anything lost once the clock is right again.
func TestRunUnderWrongClock(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	s := newSeries(t, "2026-01-01 20:00")
	ids := s.nights(30)
	right, kept := s.now, s.plan(t, p).Keeps()
	s.now = s.now.AddDate(10, 0, 0)
	s.add()
	v := rotation.Judge(rotation.Reading{Wall: s.now}, s.c.HighWater(p.Time), p.Time)
	require.False(t, v.Usable)
	require.Contains(t, v.Reasons[0].Text, "no witness confirms")
	plan, err := rotation.Evaluate(p, s.c, v)
	require.NoError(t, err)
	require.Len(t, plan.Keeps(), 31)

	s.now = right.Add(time.Hour)
	v = rotation.Judge(rotation.Reading{Wall: s.now}, s.c.HighWater(p.Time), p.Time)
	require.True(t, v.Usable)
	require.Equal(t, right.UTC(), v.Now)
	plan, err = rotation.Evaluate(p, s.c, v)
	require.NoError(t, err)
	require.Equal(t, kept, plan.Keeps()[:len(kept)])
	require.Equal(t, len(kept), of(ids, plan.Keeps()))

	// After a true pause somebody has to say so.
	s.c.Points = s.c.Points[:30]
	s.days(60)
	s.add()
	require.False(t, rotation.Judge(rotation.Reading{Wall: s.now}, s.c.HighWater(p.Time), p.Time).Usable)
	require.True(t, rotation.Judge(rotation.Reading{Wall: s.now}, s.now, p.Time).Usable)
	store := rotation.Witness{Name: "store", Time: s.now}
	require.True(t, rotation.Judge(rotation.Reading{Wall: s.now, Witnesses: []rotation.Witness{store}}, s.c.HighWater(p.Time), p.Time).Usable)
}

// A practice whose disk is the only store, and which has no witness, plans every night for years.
func TestNightlyWithoutWitness(t *testing.T) {
	p := keep(t, rotation.Tiers(3, 2, 2, 5)...)
	s := newSeries(t, "2026-01-01 20:00")
	for range 1000 {
		s.add()
		v := rotation.Judge(rotation.Reading{Wall: s.now.Add(time.Hour)}, s.c.HighWater(p.Time), p.Time)
		require.True(t, v.Usable, "%s: %v", s.now, v.Reasons)
		require.Equal(t, s.now.UTC(), v.Now)
		plan, err := rotation.Evaluate(p, s.c, v)
		require.NoError(t, err)
		s.apply(t, plan)
		s.days(1)
	}
	require.Len(t, s.c.Points, 9)
}

// A store whose clock once ran ahead makes later points wait aside, and nothing goes too early.
func TestStoreClockAhead(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	s := newSeries(t, "2026-01-01 20:00")
	ids := s.nights(10)
	s.add(func(pt *rotation.Point) { pt.Observed = pt.Observed.AddDate(10, 0, 0) })
	plan := s.plan(t, p)
	require.Equal(t, []rotation.PointID{"rp-000002", "rp-000003"}, plan.Releases())
	require.Equal(t, 8, of(ids, plan.Keeps()))
	require.Equal(t, []string{rotation.CodeQuarantine}, codes(plan, "rp-000011"))
}
