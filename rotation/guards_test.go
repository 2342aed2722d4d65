package rotation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// P14: what is held stays, whatever the policy, until two different people have let go.
func TestHold(t *testing.T) {
	p := keep(t, rotation.Tiers(1, 0, 0, 0)...)
	day := func(d int) rotation.Day { return rotation.Day{Year: 2026, Month: 1, Day: d} }
	placed := rotation.Hold{ID: "H-7", Matter: "coroner 118/26", PlacedBy: "M. Lee", Placed: time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC)}
	approve := func(by ...string) (as []rotation.Approval) {
		for _, b := range by {
			as = append(as, rotation.Approval{By: b, At: placed.Placed})
		}
		return as
	}
	for name, c := range map[string]struct {
		scope    rotation.Scope
		releases []rotation.Approval
		held     []rotation.PointID
	}{
		"everything":              {held: []rotation.PointID{"rp-000001", "rp-000002", "rp-000003", "rp-000004"}},
		"days":                    {scope: rotation.Scope{From: day(2), To: day(3)}, held: []rotation.PointID{"rp-000002", "rp-000003"}},
		"from":                    {scope: rotation.Scope{From: day(3)}, held: []rotation.PointID{"rp-000003", "rp-000004"}},
		"points":                  {scope: rotation.Scope{Points: []rotation.PointID{"rp-000002"}}, held: []rotation.PointID{"rp-000002"}},
		"lineage":                 {scope: rotation.Scope{Lineage: "clinic-sql", To: day(1)}, held: []rotation.PointID{"rp-000001"}},
		"another lineage":         {scope: rotation.Scope{Lineage: "images"}},
		"class, unknown contents": {scope: rotation.Scope{Class: "children", To: day(3)}, held: []rotation.PointID{"rp-000001", "rp-000003"}},
		"one let go":              {releases: approve("M. Lee"), held: []rotation.PointID{"rp-000001", "rp-000002", "rp-000003", "rp-000004"}},
		"one, twice":              {releases: approve("M. Lee", " m.  lee "), held: []rotation.PointID{"rp-000001", "rp-000002", "rp-000003", "rp-000004"}},
		"two":                     {releases: approve("M. Lee", "A. Shah")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeries(t, "2026-01-01 20:00")
			s.nights(4)
			s.c.Points[1].Classes = []string{"adults"}
			s.c.Points[2].Classes = []string{"adults", "children"}
			s.days(1)
			s.add()
			h := placed
			h.Scope, h.Releases = c.scope, c.releases
			s.c.Holds = []rotation.Hold{h}
			plan := s.plan(t, p)
			var held []rotation.PointID
			for _, id := range plan.Keeps() {
				if slices.Contains(codes(plan, id), rotation.CodeHold) && id != "rp-000005" {
					held = append(held, id)
				}
			}
			require.Equal(t, c.held, held)
			require.Len(t, plan.Releases(), 4-len(c.held))
			require.NotContains(t, fmt.Sprint(plan), "coroner")
			if name == "another lineage" {
				require.Contains(t, plan.Notes[len(plan.Notes)-1].Text, "hold H-7 covers no point")
			}
		})
	}

	s := newSeries(t, "2026-01-01 20:00")
	s.nights(3)
	s.c.Points[0].Holds = []rotation.HoldID{"H-lost"}
	require.Equal(t, []rotation.PointID{"rp-000002"}, s.plan(t, p).Releases(), "a hold whose record is lost holds")
	s.c.Holds = []rotation.Hold{{ID: "H-8"}}
	_, err := rotation.Evaluate(p, s.c, s.verdict())
	require.ErrorContains(t, err, "holds[0]: say who placed it and when")
}

func TestLegalLock(t *testing.T) {
	p := keep(t, rotation.Tiers(2, 0, 0, 0)...)
	p.MaxLock = span("30d")
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(10)
	s.c.Points[0].Copies = []rotation.Copy{{Site: "s3"}, {Site: "s3b", LockedUntil: s.now.AddDate(0, 0, 5)}}
	s.c.Points[1].Copies = []rotation.Copy{{Site: "s3", LockedUntil: s.now.AddDate(10, 0, 0)}}
	plan := s.plan(t, p)
	require.Equal(t, []string{rotation.CodeLock}, codes(plan, "rp-000001"))
	v, _ := plan.Verdict("rp-000001")
	require.Equal(t, rotation.Day{Year: 2026, Month: 1, Day: 16}, v.Earliest, "the first business day after the lock")
	require.Equal(t, rotation.CodeLongLock, plan.Notes[0].Code)
	require.Equal(t, 1, plan.Notes[0].Points, "a clock ten years ahead locked it")
	s.days(5)
	require.NotContains(t, s.plan(t, p).Releases(), rotation.PointID("rp-000001"))
	s.days(1)
	require.Contains(t, s.plan(t, p).Releases(), rotation.PointID("rp-000001"))
}

// P15: a lock reaches the promise, and never beyond MaxLock.
func TestAdmitLocks(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	p.Promise = span("30d")
	s := newSeries(t, "2026-01-01 20:00")
	next := func(seq uint64) rotation.Point {
		return rotation.Point{ID: "next", Lineage: "clinic-sql", Seq: seq, Observed: s.now, Complete: true, Verified: rotation.Checked}
	}
	a, err := rotation.Admit(p, s.c, next(1), s.verdict())
	require.NoError(t, err)
	require.Equal(t, []string{"daily 2026-01-01", "weekly 2026-W01", "monthly 2026-01", "yearly 2026"}, a.Grant.Buckets)
	require.True(t, a.Grant.Promise.Equal(time.Date(2026, 1, 31, 4, 0, 0, 0, s.loc)))
	require.True(t, a.Lock.Equal(time.Date(2029, 1, 1, 4, 0, 0, 0, s.loc)))
	p.MaxLock = span("90d")
	a, err = rotation.Admit(p, s.c, next(1), s.verdict())
	require.NoError(t, err)
	require.True(t, a.Lock.Equal(time.Date(2026, 4, 1, 4, 0, 0, 0, s.loc)), "%v", a.Lock)
	require.False(t, a.Lock.Before(a.Grant.Promise))

	future := next(1)
	future.Claimed = s.now.AddDate(10, 0, 0)
	a, err = rotation.Admit(p, s.c, future, s.verdict())
	require.NoError(t, err)
	require.Zero(t, a.Lock)
	require.Equal(t, rotation.CodeQuarantine, a.Verdict.Reasons[0].Code)
	require.Empty(t, s.c.Points, "the catalogue is the caller's")
}

// P18: shortening a policy, or dropping it, has no effect before the ratchet; what it keeps more is kept at once. The
// ratchet that counts is the old one.
func TestRatchet(t *testing.T) {
	long := keep(t, rotation.Tiers(30, 0, 0, 0)...)
	long.Ratchet = span("14d")
	short := keep(t, rotation.Tiers(2, 0, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	s.c.Policies = []rotation.Revision{{Policy: long, At: s.now}}
	s.nights(30)
	require.Empty(t, s.plan(t, long).Releases())

	plan := s.plan(t, short)
	require.Empty(t, plan.Releases(), "one that is not recorded yet")
	require.Equal(t, []string{rotation.CodeRatchet}, codes(plan, "rp-000001"))
	s.c.Policies = append(s.c.Policies, rotation.Revision{Policy: short, At: s.now})
	ids := slices.Clone(plan.Keeps())
	for range 13 {
		s.days(1)
		s.add()
		for _, id := range s.plan(t, short).Releases() {
			require.Less(t, slices.Index(ids, id), 13, "only what the old policy lets go as well")
		}
	}
	// A third policy in between does not cut the first one's ratchet short.
	s.c.Policies = append(s.c.Policies, rotation.Revision{Policy: keep(t, rotation.Tiers(1, 0, 0, 0)...), At: s.now})
	require.GreaterOrEqual(t, len(s.plan(t, s.c.Policies[2].Policy).Keeps()), 30)
	s.c.Policies = s.c.Policies[:2]
	s.days(1)
	require.GreaterOrEqual(t, len(s.plan(t, short).Keeps()), 30, "it binds for whole business days")
	s.days(1)
	require.Len(t, s.plan(t, short).Keeps(), 2)

	// Keeping more works at once.
	s.c.Policies = append(s.c.Policies, rotation.Revision{Policy: long, At: s.now})
	require.Len(t, s.plan(t, long).Releases(), 13)

	// A recorded promise outlives every policy.
	long.Promise = span("20d")
	long.Ratchet = rotation.Span{}
	s = newSeries(t, "2026-01-01 20:00")
	s.nights(10)
	s.apply(t, s.plan(t, long))
	require.Empty(t, s.plan(t, short).Releases())
	s.days(12)
	require.Len(t, s.plan(t, short).Releases(), 2)
}

// What a policy gives that binds by its ratchet alone is recorded and kept as well, and what waits under it goes on waiting.
func TestRatchetGrants(t *testing.T) {
	long, short := keep(t, rotation.Tiers(1, 5, 0, 0)...), keep(t, rotation.Tiers(1, 0, 0, 0)...)
	long.Ratchet = span("14d")
	s := newSeries(t, "2026-01-05 20:00") // a Monday
	s.c.Policies = []rotation.Revision{{Policy: long, At: s.now}, {Policy: short, At: s.now}}
	late := s.add(unverified, func(pt *rotation.Point) { pt.Promise = s.now.AddDate(0, 0, 10) })
	s.days(1)
	has := s.add()
	s.apply(t, s.plan(t, short))
	s.days(2)
	s.add()
	require.Equal(t, late, s.c.Points[0].ID)
	s.c.Points[0].Verified = rotation.Restored
	require.Contains(t, s.plan(t, short).Keeps(), has, "a late verification does not take its week away")

	friday := keep(t, rotation.Tier{Period: rotation.Weekly, Count: 1, Within: span("2w"), PreferDay: 5})
	friday.Ratchet = span("14d")
	first := keep(t, rotation.Tier{Period: rotation.Weekly, Count: 1, Within: span("2w")})
	s = newSeries(t, "2026-01-05 20:00")
	s.c.Policies = []rotation.Revision{{Policy: friday, At: s.now}, {Policy: first, At: s.now}}
	ids := s.nights(2) // no Friday
	s.days(6)
	s.add()
	for range 2 {
		plan := s.plan(t, first)
		require.Equal(t, 2, of(ids, plan.Keeps()), "the first has the week, the second may still get it")
		s.apply(t, plan)
	}
}

func TestBudget(t *testing.T) {
	p := keep(t, rotation.Tiers(2, 0, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(42)
	for _, c := range []struct {
		budget       rotation.Budget
		first, later int
	}{
		{rotation.Budget{Points: 3, Per: span("1d")}, 3, 3},
		{rotation.Budget{Bytes: 250, Per: span("1d")}, 2, 2},
		{rotation.Budget{Bytes: 99, Per: span("1d")}, 0, 0},
		{rotation.Budget{Percent: 10, Per: span("1d")}, 4, 3},
		{rotation.Budget{Percent: 1, Per: span("7d")}, 1, 1},
		{rotation.Budget{Points: 5, Percent: 50, Bytes: 1000, Per: span("7d")}, 5, 5},
	} {
		p.Budget = c.budget
		r := *s
		plan := r.plan(t, p)
		require.Len(t, plan.Releases(), c.first)
		require.Equal(t, rotation.CodeBudget, plan.Notes[0].Code)
		require.Equal(t, 40-c.first, plan.Notes[0].Points)
		r.apply(t, plan)
		require.Empty(t, r.plan(t, p).Releases(), "spent")
		r.days(c.budget.Per.Days)
		require.Len(t, r.plan(t, p).Releases(), c.later, "a new stretch of time")
	}

	// What requires another goes with it or not at all.
	s.c.Points[9].Requires = []rotation.PointID{"rp-000001", "rp-000002"}
	s.c.Points[10].Requires = []rotation.PointID{"rp-000010"}
	p.Budget = rotation.Budget{Points: 2, Per: span("1d")}
	require.Equal(t, []rotation.PointID{"rp-000003", "rp-000004"}, s.plan(t, p).Releases())
	p.Budget.Points = 3
	require.Equal(t, []rotation.PointID{"rp-000001", "rp-000010", "rp-000011"}, s.plan(t, p).Releases())
}

func TestFloors(t *testing.T) {
	p := keep(t, rotation.Tiers(2, 0, 0, 0)...)
	p.Rules[0].Floors = []rotation.Floor{{Need: rotation.NeedOffsite, Points: 1}, {Need: rotation.NeedOffline, Copies: 2, Points: 1}}
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(10)
	plan := s.plan(t, p)
	require.Empty(t, plan.Releases(), "no copy is offsite yet")
	require.Contains(t, plan.Explain("rp-000001")[0].Text, "0 of the 1 points needed are offsite")

	tape := rotation.Copy{Site: "tape", Offsite: true, Offline: true}
	s.c.Points[2].Copies = []rotation.Copy{tape}
	require.Empty(t, s.plan(t, p).Releases(), "a tape that nobody has read may be blank")
	tape.Verified = rotation.ReadBack
	s.c.Points[2].Copies = []rotation.Copy{tape}
	require.Empty(t, s.plan(t, p).Releases(), "one offline copy of two")
	s.c.Points[4].Copies = []rotation.Copy{tape, tape}
	plan = s.plan(t, p)
	require.Equal(t, []rotation.PointID{"rp-000005", "rp-000009", "rp-000010"}, plan.Keeps())
	require.Len(t, plan.Explain("rp-000005"), 2)
}

// A point that is verified late does not take the bucket from one that had it.
func TestLateVerification(t *testing.T) {
	p := keep(t, rotation.Tiers(2, 5, 0, 0)...)
	s := newSeries(t, "2026-01-05 20:00") // a Monday
	late := s.add(unverified)
	s.days(1)
	has := s.add()
	s.apply(t, s.plan(t, p))
	s.days(3)
	s.nights(2)
	s.c.Points[0].Verified = rotation.Restored
	plan := s.plan(t, p)
	require.Contains(t, plan.Keeps(), has)
	require.Equal(t, []rotation.PointID{late}, plan.Releases())

	// One that turns out bad keeps its days, and the bucket goes to the next good one besides.
	s.c.Points[1].Verified = rotation.Unverified
	plan = s.plan(t, p)
	require.Contains(t, plan.Keeps(), has)
	require.Contains(t, plan.Keeps(), late)
	require.Contains(t, plan.Explain(late)[0].Text, "weekly 2026-W02")
}

// P16: what a kept point requires is kept, through any number of steps.
func TestDependents(t *testing.T) {
	p := keep(t, rotation.Tiers(1, 0, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	for i := range 20 {
		s.add(func(pt *rotation.Point) {
			if i%2 == 1 {
				pt.Requires = []rotation.PointID{rotation.PointID(fmt.Sprintf("rp-%06d", i-1))}
			}
			if i%2 == 0 && i > 0 {
				pt.Requires = []rotation.PointID{"rp-000001"}
			}
		})
		s.days(1)
	}
	s.days(-1)
	plan := s.plan(t, p)
	require.Len(t, plan.Keeps(), 12, "a chain of ten, what the one before the last requires, and itself")
	require.Equal(t, []string{rotation.CodeDependent}, codes(plan, "rp-000002"))
	require.Equal(t, []string{rotation.CodeDependent}, codes(plan, "rp-000001"))
}

func TestPreferDay(t *testing.T) {
	p := keep(t, rotation.Tier{Period: rotation.Weekly, Count: 3, Within: span("3w"), PreferDay: 5})
	s := newSeries(t, "2026-01-05 20:00") // a Monday
	s.nights(3)
	plan := s.plan(t, p)
	require.Equal(t, []rotation.PointID{"rp-000003"}, plan.Keeps(), "until Friday the newest, provisionally")
	require.Contains(t, codes(plan, "rp-000003"), rotation.CodeProvisional)
	s.days(1)
	s.nights(4) // Thursday to Sunday
	s.apply(t, s.plan(t, p))
	require.Equal(t, []rotation.PointID{"rp-000005", "rp-000007"}, s.plan(t, p).Keeps(), "Friday's, and the newest")
	s.days(1)
	s.nights(3) // no Friday
	s.days(20)
	s.add()
	plan = s.plan(t, p)
	require.Equal(t, []rotation.PointID{"rp-000005", "rp-000010", "rp-000011"}, plan.Keeps(), "the last before Friday has the week")
	require.Contains(t, codes(plan, "rp-000010"), rotation.CodeTier)
}

func TestCatalogueRefused(t *testing.T) {
	p := keep(t, rotation.Tiers(1, 0, 0, 0)...)
	for want, change := range map[string]func(c *rotation.Catalogue){
		"another has the same id":          func(c *rotation.Catalogue) { c.Points[1].ID = c.Points[0].ID },
		"two points have Seq 1":            func(c *rotation.Catalogue) { c.Points[1].Seq = 1 },
		"observed before one that precede": func(c *rotation.Catalogue) { c.Points[1].Observed = c.Points[1].Observed.AddDate(0, 0, -9) },
		"an id is needed":                  func(c *rotation.Catalogue) { c.Points[1].ID = "" },
		"say when it was observed":         func(c *rotation.Catalogue) { c.Points[0].Observed = time.Time{} },
		"valid UTF-8":                      func(c *rotation.Catalogue) { c.Points[1].Lineage = "\xff" },
		"not a date":                       func(c *rotation.Catalogue) { c.Points[1].Day = rotation.Day{Year: 2026, Month: 2, Day: 30} },
		"bytes must not be negative":       func(c *rotation.Catalogue) { c.Points[1].Bytes = -1 },
		"policies[0]: say when":            func(c *rotation.Catalogue) { c.Policies = []rotation.Revision{{}} },
		"releases[0]":                      func(c *rotation.Catalogue) { c.Releases = []rotation.Release{{}} },
	} {
		s := newSeries(t, "2026-01-01 20:00")
		s.nights(3)
		change(&s.c)
		_, err := rotation.Evaluate(p, s.c, s.verdict())
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "catalogue: ")
		require.Zero(t, s.c.Digest())
	}
}

// P22: no bucket of one tier is called like one of another, and none is given twice.
func TestBucketNames(t *testing.T) {
	p := keep(t, rotation.Tier{Period: rotation.Hourly, Count: 1000, Within: span("1d")},
		rotation.Tier{Period: rotation.Daily, Count: 1000, Within: span("1000d")},
		rotation.Tier{Period: rotation.Weekly, Count: 200, Within: span("200w")},
		rotation.Tier{Period: rotation.Monthly, Count: 50, Within: span("50m")},
		rotation.Tier{Period: rotation.Quarterly, Count: 20, Within: span("60m")},
		rotation.Tier{Period: rotation.Yearly, Count: 6, Within: span("6y")})
	s := newSeries(t, "2024-12-20 20:00")
	s.nights(800)
	names := map[string]bool{}
	for _, g := range s.plan(t, p).Grants {
		for _, name := range g.Buckets {
			require.False(t, names[name], name)
			names[name] = true
		}
	}
	for _, name := range []string{
		"hourly 2027-01-31T20:00+11:00", "daily 2026-01-01", "weekly 2026-W01", "weekly 2026-W53", "monthly 2026-01",
		"quarterly 2026-Q1", "yearly 2026",
	} {
		require.Contains(t, names, name)
	}
	require.False(t, names["weekly 2025-W53"], "29 December 2025 begins the first week of 2026")
}

// The hour that comes twice is two hours, and the day on which it comes is one day.
func TestHourlyWhenClocksChange(t *testing.T) {
	p := keep(t, rotation.Tier{Period: rotation.Hourly, Count: 24, Within: span("1d")})
	s := newSeries(t, "2027-04-04 01:30")
	for range 4 {
		s.add()
		s.add()
		s.now = s.now.Add(time.Hour)
	}
	s.now = s.now.Add(-time.Hour)
	var names []string
	for _, g := range s.plan(t, p).Grants {
		names = append(names, g.Buckets...)
	}
	require.Equal(t, []string{
		"hourly 2027-04-04T01:00+11:00", "hourly 2027-04-04T02:00+11:00", "hourly 2027-04-04T02:00+10:00", "hourly 2027-04-04T03:00+10:00",
	}, names)
}

// What is newer than every verified point stays, however many verified points have its bucket: nothing else
// holds the last changes. Once a later one is verified, it goes.
func TestNewestUnverifiedStays(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	s := newSeries(t, "2026-03-01 20:00")
	s.nights(29)
	s.add()
	s.now = s.now.Add(30 * time.Minute)
	late := s.add(unverified)
	plan := s.plan(t, p)
	require.NotContains(t, plan.Releases(), late)
	require.Contains(t, codes(plan, late), rotation.CodeNewest)
	s.days(1)
	s.add()
	require.Contains(t, s.plan(t, p).Releases(), late)
}
