package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// Bugs and surprises that users of other programs met. Each test is named after the report, and holds what happens here.

// kopia: weeks and months share one map of ids, so ISO week 2026-01 hides January 2026 or the reverse. P22 as well.
func TestKopia5096WeekMonthClash(t *testing.T) {
	p := keep(t, rotation.Tier{Period: rotation.Weekly, Count: 52, Within: span("52w")},
		rotation.Tier{Period: rotation.Monthly, Count: 24, Within: span("24m")})
	s := newSeries(t, "2026-01-05 20:00")
	var ids []rotation.PointID
	for range 52 {
		ids = append(ids, s.add())
		s.days(7)
	}
	plan := s.plan(t, p)
	require.Empty(t, plan.Releases())
	s.apply(t, plan)
	names := map[string]bool{}
	for _, pt := range s.c.Points {
		for _, name := range pt.Promoted {
			require.False(t, names[name], "%s was granted twice", name)
			names[name] = true
		}
	}
	require.Len(t, names, 52+12)
	require.Contains(t, names, "weekly 2026-W02")
	require.Contains(t, names, "monthly 2026-02")
	require.Equal(t, 52, of(ids, plan.Keeps()))
}

// kopia: cut-offs count from the newest snapshot, so one from the future makes all others old.
func TestKopiaFutureDatedCollapse(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	s := newSeries(t, "2025-01-01 20:00")
	s.nights(400)
	before := s.plan(t, p).Keeps()
	s.add(func(pt *rotation.Point) { pt.Claimed = pt.Observed.AddDate(50, 0, 0) })
	require.Equal(t, len(before), of(before, s.plan(t, p).Keeps()))
}

// Cellarion: 85 snapshots with 85 paths were 85 groups, so nothing was ever forgotten and erased people stayed.
func TestCellarion1183UniquePaths(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(85)
	require.NotEmpty(t, s.plan(t, p).Releases(), "the lineage is named by the caller, not made of paths")

	// A caller that makes a lineage of every run is told.
	s = newSeries(t, "2020-01-01 20:00")
	for i := range 85 {
		s.add(lineage(fmt.Sprintf("/tmp/tmp.%d", i)))
		s.days(1)
	}
	s.days(4 * 365)
	plan := s.plan(t, p)
	require.Empty(t, plan.Releases())
	stale := 0
	for _, n := range plan.Notes {
		if n.Code == rotation.CodeStale {
			stale++
		}
	}
	require.Equal(t, 85, stale)
}

// Duplicati: a week is 7·24 hours, so a weekly run that starts seconds early loses its backup.
func TestDuplicati3987EarlyBySecondsKept(t *testing.T) {
	p := keep(t, rotation.Tiers(0, 4, 0, 0)...)
	s := newSeries(t, "2026-01-02 20:00")
	var ids []rotation.PointID
	for i := range 4 {
		ids = append(ids, s.add())
		s.days(7)
		s.now = s.now.Add(-time.Duration(i) * time.Second)
	}
	require.Equal(t, ids, s.plan(t, p).Keeps())
}

// sanoid: monitoring looks at the newest snapshot's claimed time, so one from the future says OK for ever.
func TestSanoid651FutureOK(t *testing.T) {
	p := keep(t, rotation.Tiers(2, 2, 0, 0)...)
	p.Rules[0].Floors = []rotation.Floor{{Need: rotation.NeedVerified, Points: 1, MaxAge: span("3d")}}
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(20)
	s.add(func(pt *rotation.Point) { pt.Claimed = pt.Observed.AddDate(1, 0, 0) })
	require.NotEmpty(t, s.plan(t, p).Releases())
	s.days(5)
	plan := s.plan(t, p)
	require.Empty(t, plan.Releases(), "while backups have stopped, nothing goes")
	require.Equal(t, rotation.CodeFloor, plan.Notes[0].Code)
	require.Contains(t, plan.Notes[0].Text, "more than 3d ago")
}

// restic: future-dated empty snapshots use up every count; shadows at the end of each day replace the last of the day.
func TestRestic22057FutureDatedAndShadows(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 5, 12, 3)...)
	s := newSeries(t, "2025-01-01 20:00")
	s.nights(400)
	before := s.plan(t, p).Keeps()
	for i := range 19 {
		s.add(func(pt *rotation.Point) {
			pt.Claimed, pt.Day = pt.Claimed.AddDate(i, 1, 1), rotation.Day{Year: 2027 + i, Month: 1, Day: 1}
		})
		s.add(func(pt *rotation.Point) { pt.Claimed = pt.Claimed.AddDate(0, 0, -i).Add(3 * time.Hour) })
	}
	plan := s.plan(t, p)
	require.Equal(t, len(before), of(before, plan.Keeps()))

	day := s.add(func(pt *rotation.Point) { pt.Day = rotation.DayOf(s.now).AddDays(1) })
	require.Equal(t, []string{rotation.CodeQuarantine}, codes(s.plan(t, p), day), "tomorrow's bucket is not to be had today")
}

// restic: a mistyped tag matched nothing, so nothing was kept.
func TestRestic4568MistypedDeletesNothing(t *testing.T) {
	p := keep(t, rotation.Tiers(1, 1, 0, 0)...)
	p.Rules[0].Lineages = []string{"clinic-sqk"}
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(100)
	plan := s.plan(t, p)
	require.Empty(t, plan.Releases())
	require.Contains(t, codes(plan, "rp-000001"), rotation.CodeNoRule)
	last := plan.Notes[len(plan.Notes)-1]
	require.Equal(t, rotation.CodeUnmatched, last.Code)
	require.Equal(t, "clinic-sqk", last.Lineage)
	require.Empty(t, s.plan(t, rotation.Policy{}).Releases(), "an empty policy keeps everything")
}

// rustic: two days of one ISO week on both sides of New Year were two weeks.
func TestRusticEqualWeekAtNewYear(t *testing.T) {
	p := keep(t, rotation.Tiers(0, 1, 0, 0)...)
	s := newSeries(t, "2025-12-29 20:00")
	ids := s.nights(7) // Monday to Sunday, all of 2026-W01
	s.days(8)
	s.add()
	s.days(8)
	s.add()
	plan := s.plan(t, p)
	require.Zero(t, of(ids, plan.Keeps()))
	s.c.Points = s.c.Points[:7]
	s.now = s.now.AddDate(0, 0, -16)
	plan = s.plan(t, p)
	require.Equal(t, []rotation.PointID{ids[0], ids[6]}, plan.Keeps(), "the week's first, and the newest of all")
	require.Contains(t, plan.Explain(ids[0])[0].Text, "weekly 2026-W01")
}

// sanoid: a yearly whose date was missed across New Year was not caught up.
func TestSanoidYearlyMissed(t *testing.T) {
	p := keep(t, rotation.Tier{Period: rotation.Yearly, Count: 5, Within: span("5y"), PreferDay: 366})
	s := newSeries(t, "2025-11-01 20:00")
	ids := s.nights(20) // until 20 November, then nothing
	s.now = s.now.AddDate(0, 2, 0)
	s.add()
	plan := s.plan(t, p)
	require.Equal(t, []rotation.PointID{ids[19], "rp-000021"}, plan.Keeps())
	require.Equal(t, rotation.CodeTier, plan.Explain(ids[19])[0].Code, "the last before the preferred day has the year")
}

// snappr: the index of a day left out whole years, so of three snapshots a year apart one was kept.
func TestSnapprDayIndex(t *testing.T) {
	p := keep(t, rotation.Tiers(3, 0, 0, 0)...)
	s := newSeries(t, "2024-03-01 20:00")
	for range 3 {
		s.add()
		s.now = s.now.AddDate(1, 0, 0)
	}
	require.Empty(t, s.plan(t, p).Releases())
}

// borg: prune without a prefix takes all archives of a repository for one series.
func TestBorg3487PruneWithoutPrefix(t *testing.T) {
	p := keep(t, rotation.Tiers(3, 0, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	laptop := []rotation.PointID{s.add(lineage("laptop")), s.add(lineage("laptop"))}
	s.days(1)
	s.nights(50, lineage("server"))
	plan := s.plan(t, p)
	require.NotEmpty(t, plan.Releases())
	require.Equal(t, 2, of(laptop, plan.Keeps()), "the one that has the day, and the newest")
}

// kopia: a machine that was off for two weeks loses all its dailies with the first run.
func TestKopia3758MachineOff(t *testing.T) {
	p := keep(t, rotation.Tiers(14, 0, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	ids := s.nights(30)
	s.apply(t, s.plan(t, p))
	s.days(59)
	s.add()
	plan := s.plan(t, p)
	require.Equal(t, ids[16], plan.Releases()[0])
	require.Equal(t, 13, of(ids, plan.Keeps()), "with the new one, 14 days that have a point")
}

// Proxmox Backup Server: prune looks at no verification, so a corrupt newest backup displaces a good one.
func TestProxmoxUnverifiedNewestDisplaces(t *testing.T) {
	p := keep(t, rotation.Tiers(1, 0, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	good := s.add()
	s.days(1)
	for range 30 {
		s.add(unverified)
		s.add(func(pt *rotation.Point) { pt.Complete = false })
		s.add(func(pt *rotation.Point) { pt.Anomalies = []string{"a tenth of the usual size"} })
		s.add(func(pt *rotation.Point) { pt.Requires = []rotation.PointID{"gone"} })
		s.days(1)
	}
	require.Contains(t, s.plan(t, p).Keeps(), good)
}

// zfs-auto-snapshot: a run that made no snapshot still pruned, which left one less than was asked for.
func TestZFSAutoSnapshotKeepOneLess(t *testing.T) {
	p := keep(t, rotation.Tiers(7, 0, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(30)
	for range 10 {
		s.apply(t, s.plan(t, p))
		require.Len(t, s.c.Points, 7)
		s.days(1)
	}
}

// restic: a month before 31 March is 3 March by its arithmetic, so what is younger than a month went.
func TestResticMonthArithmetic(t *testing.T) {
	p := keep(t, rotation.Tier{Period: rotation.Daily, Count: 1, Within: span("1m")})
	s := newSeries(t, "2026-02-01 20:00")
	s.nights(59) // to 31 March
	require.Equal(t, rotation.Day{Year: 2026, Month: 3, Day: 31}, rotation.DayOf(s.now))
	plan := s.plan(t, p)
	v, _ := plan.Verdict(plan.Keeps()[0])
	require.Equal(t, rotation.Day{Year: 2026, Month: 3, Day: 1}, v.Day, "28 February and a month is 28 March")
}

// restic, borg: whose midnight? A run after midnight belongs to the day before, at the practice.
func TestRestic4732BusinessDay(t *testing.T) {
	p := keep(t, rotation.Tiers(2, 0, 0, 0)...)
	s := newSeries(t, "2026-01-02 01:30")
	late := s.add()
	s.now = s.now.Add(19 * time.Hour)
	evening := s.add()
	plan := s.plan(t, p)
	require.Equal(t, []rotation.PointID{late, evening}, plan.Keeps())
	v, _ := plan.Verdict(late)
	require.Equal(t, rotation.Day{Year: 2026, Month: 1, Day: 1}, v.Day)
}

// borg: around the change of the clocks a day had no archive or two.
func TestBorg1980ClocksChange(t *testing.T) {
	p := keep(t, rotation.Tiers(10, 0, 0, 0)...)
	for _, start := range []string{"2026-10-01 02:30", "2027-04-01 02:30"} { // the gap and the fold of Sydney
		s := newSeries(t, start)
		for range 10 {
			s.add()
			s.days(1)
		}
		s.days(-1)
		require.Empty(t, s.plan(t, p).Releases())
	}
}
