package media_test

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/media"
)

func day(t testing.TB, s string) rotation.Day {
	d, err := rotation.ParseDay(s)
	require.NoError(t, err)
	return d
}

// closed is a practice with holidays.
func closed(days ...rotation.Day) media.Hours {
	h := media.Hours{Holidays: rotation.Holidays{Days: map[rotation.Day]string{}}}
	for _, d := range days {
		h.Holidays.Days[d] = "holiday"
	}
	return h
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func figures(t *testing.T, s media.Set, err error) media.Figures {
	require.NoError(t, err)
	f, err := s.Figures(0)
	require.NoError(t, err)
	return f
}

func TestHanoiFollowsItsClosedForms(t *testing.T) {
	for _, row := range []struct{ n, after, during, best, wear, back int }{
		{5, 8, 7, 15, 8, 16}, {6, 16, 15, 31, 16, 32}, {8, 64, 63, 127, 64, 128}, {10, 256, 255, 511, 256, 512},
	} {
		s, err := media.Hanoi(row.n, media.BySession)
		f := figures(t, s, err)
		require.True(t, f.Repeats)
		require.Equal(t, []int{row.after, row.during, row.best, row.back},
			[]int{f.HorizonAfterWrite, f.Horizon, f.HorizonBest, f.LongestReturn}, "%d media", row.n)
		require.Equal(t, row.wear*f.FewestWrites, f.MostWrites)
		require.Equal(t, []int{1 << (row.n - 2), 1<<(row.n-2) - 1, 1<<(row.n-1) - 1},
			[]int{f.HorizonAfterWrite, f.Horizon, f.HorizonBest})
	}
	// "1023 days with ten tapes" is neither guaranteed nor ever reached.
	s, err := media.Hanoi(10, media.BySession)
	require.Less(t, figures(t, s, err).HorizonBest, 1023)
}

func TestHanoiNeverLosesThreeTimesTheAge(t *testing.T) {
	s, err := media.Hanoi(6, media.BySession)
	f := figures(t, s, err)
	for d := 1; d <= f.Horizon; d++ {
		extra, ok := f.ExtraLoss(d)
		require.True(t, ok)
		require.Less(t, d+extra, 3*d)
		// 2^⌈log2(d+1)⌉-1: at powers of two more than the 2^⌈log2 d⌉-1 that holds just after a session, for here
		// the medium that is being overwritten does not count.
		require.Equal(t, 1<<bits.Len(uint(d))-1, extra, "an incident %d sessions old", d)
	}
	for d, want := range map[int]int{1: 1, 2: 3, 3: 3, 5: 7, 10: 15} {
		extra, _ := f.ExtraLoss(d)
		require.Equal(t, want, extra)
	}
	_, ok := f.ExtraLoss(f.Horizon + 1)
	require.False(t, ok)
}

func TestSchemesCompared(t *testing.T) {
	const none = -1
	set := func(s media.Set, err error) media.Set { require.NoError(t, err); return s }
	for _, row := range []struct {
		set                                       media.Set
		media, horizon, week, fortnight, wear, to int
	}{
		{set(media.RoundRobin(6, media.BySession)), 6, 4, none, none, 1, 6},
		{set(media.SixTapeFridayAB(media.BySession)), 6, 4, none, none, 2, 10},
		{set(media.Hanoi(6, media.BySession)), 6, 15, 7, 15, 16, 32},
		{set(media.RoundRobin(10, media.BySession)), 10, 8, 0, none, 1, 10},
		{set(media.GFS(media.Tiers{Daily: 4, Weekly: 3, Monthly: 3}, media.BySession)), 10, 39, 4, 4, 12, 60},
		{set(media.Hanoi(10, media.BySession)), 10, 255, 7, 15, 256, 512},
		{set(media.RoundRobin(20, media.BySession)), 20, 18, 0, 0, 1, 20},
		{set(media.GFS(media.Tiers{Daily: 4, Weekly: 4, Monthly: 12}, media.BySession)), 20, 219, 4, 4, 48, 240},
		// The other scheme of the name: the same tapes, and no better.
		{set(media.SixTapeMondayFull(media.BySession)), 6, 4, none, none, 2, 10},
	} {
		f := figures(t, row.set, nil)
		extra := func(age int) int {
			if e, ok := f.ExtraLoss(age); ok {
				return e
			}
			return none
		}
		require.True(t, f.Repeats)
		require.Equal(t, []int{row.media, row.horizon, row.week, row.fortnight, row.to},
			[]int{f.Media, f.Horizon, extra(7), extra(14), f.LongestReturn}, "%s", row.set)
		require.Equal(t, row.wear*f.FewestWrites, f.MostWrites, "%s", row.set)
		require.Empty(t, f.NeverWritten)
		require.Len(t, row.set.Slots(), row.media)
	}
}

func TestPartialCopiesNeedTheirFullOne(t *testing.T) {
	// On Monday evening, while Monday's full copy is overwritten, last Tuesday's to Thursday's are of no use:
	// an incident of one session ago costs a whole week's worth more than with full copies.
	full, partial := figures(t, must(media.SixTapeFridayAB(media.BySession)), nil), figures(t, must(media.SixTapeMondayFull(media.BySession)), nil)
	a, ok := full.ExtraLoss(1)
	require.True(t, ok)
	b, ok := partial.ExtraLoss(1)
	require.True(t, ok)
	require.Equal(t, []int{0, 4}, []int{a, b})
	for _, s := range must(media.SixTapeMondayFull(media.ByCalendar)).Slots() {
		require.Equal(t, slices.Contains([]string{"Tuesday", "Wednesday", "Thursday"}, s.Name), s.Partial)
	}
}

func TestLeastMediaForAHorizon(t *testing.T) {
	for h, n := range map[int]int{5: 5, 10: 6, 20: 7, 60: 8, 250: 10} {
		s, err := media.Hanoi(n, media.BySession)
		require.GreaterOrEqual(t, figures(t, s, err).Horizon, h)
		s, err = media.Hanoi(n-1, media.BySession)
		require.Less(t, figures(t, s, err).Horizon, h)
		s, err = media.RoundRobin(min(h+2, 64), media.BySession)
		require.Equal(t, min(h, 62), figures(t, s, err).Horizon)
	}
}

func TestWeeklyIsTheLastBusinessDay(t *testing.T) {
	hours := closed(day(t, "2026-12-25"), day(t, "2026-12-28"), day(t, "2027-01-01"), day(t, "2027-03-26"), day(t, "2027-03-29"))
	set, err := media.GFS(media.Tiers{Daily: 4, Weekly: 4, Monthly: 12}, media.ByCalendar)
	require.NoError(t, err)
	tier := func(s string) media.Tier {
		slot, err := set.Slot(0, day(t, s), hours)
		require.NoError(t, err)
		return slot.Tier
	}
	require.Equal(t, media.Weekly, tier("2027-03-25"), "Thursday before Good Friday")
	require.Equal(t, media.Daily, tier("2027-03-24"))
	require.Equal(t, media.Weekly, tier("2026-12-24"))
	require.Equal(t, media.Monthly, tier("2026-12-31"), "New Year's Eve is a Thursday, and the month's last day")
	require.Equal(t, media.Monthly, tier("2026-10-30"))
	// With Fridays alone there would be three weeks between two weekly copies.
	var ends []rotation.Day
	for d := day(t, "2026-12-14"); d.Before(day(t, "2027-01-16")); d = d.AddDays(1) {
		if hours.LastOfWeek(d) {
			ends = append(ends, d)
		}
	}
	for i := 1; i < len(ends); i++ {
		require.LessOrEqual(t, ends[i].Sub(ends[i-1]), 8)
	}
	require.Len(t, ends, 5)

	// 42 of the 120 months from 2026 on have five Fridays.
	five := 0
	for m := range 120 {
		first := rotation.Day{Year: 2026, Month: time.January, Day: 1}.AddMonths(m)
		fridays := 0
		for d := first; d.Month == first.Month; d = d.AddDays(1) {
			if d.Weekday() == time.Friday {
				fridays++
			}
		}
		if fridays == 5 {
			five++
		}
	}
	require.Equal(t, 42, five)
}

// Every tier of a calendar set is used in turn, whatever holidays come, and tiers do not displace each other.
func TestGFSByCalendarKeepsEveryTierForItsTime(t *testing.T) {
	var off []rotation.Day
	for d := day(t, "2026-01-01"); d.Year < 2032; d = d.AddDays(1) {
		if (d.Year*31+int(d.Month)*7+d.Day)%23 == 0 { // days off without a pattern
			off = append(off, d)
		}
	}
	hours := closed(off...)
	set, err := media.GFS(media.Tiers{Daily: 4, Weekly: 5, Monthly: 11, Yearly: 2}, media.ByCalendar)
	require.NoError(t, err)
	last := map[string]rotation.Day{}
	least := map[media.Tier]int{media.Daily: 7, media.Weekly: 5*7 - 4, media.Monthly: 360, media.Yearly: 725}
	for d := day(t, "2026-01-01"); d.Year < 2032; d = d.AddDays(1) {
		if !hours.Open(d) {
			continue
		}
		slot, err := set.Slot(0, d, hours)
		require.NoError(t, err)
		if before, ok := last[slot.Name]; ok {
			require.GreaterOrEqual(t, d.Sub(before), least[slot.Tier], "%s on %s", slot.Name, d)
		}
		last[slot.Name] = d
	}
	require.Len(t, last, 22)
}

func TestTuesdayStaysBlueByCalendarOnly(t *testing.T) {
	hours := media.Hours{}
	calendar := must(media.RoundRobin(5, media.ByCalendar))
	session := must(media.RoundRobin(5, media.BySession))
	tuesday := day(t, "2026-10-06")
	a := must(calendar.Slot(100, tuesday, hours))
	require.Equal(t, a, must(calendar.Slot(7, tuesday.AddDays(7), hours)), "whatever was missed")
	require.NotEqual(t, must(session.Slot(100, tuesday, hours)), must(session.Slot(101, tuesday, hours)))
}

func TestBadSetsAreRefused(t *testing.T) {
	for want, err := range map[string]error{
		"no media":            second(media.RoundRobin(0, "")),
		"1 to 64 media":       second(media.RoundRobin(-3, "")),
		"2 to 15 media":       second(media.Hanoi(16, "")),
		"4 to 20 media":       second(media.Spread(3)),
		"at least one daily":  second(media.GFS(media.Tiers{Daily: 4, Weekly: 0, Monthly: 12}, "")),
		"at most 64":          second(media.GFS(media.Tiers{Daily: 4, Weekly: 4, Monthly: 120}, "")),
		`expected "calendar"`: second(media.Hanoi(5, "often")),
		"cannot follow":       second(media.Set{Kind: media.KindSpread, Media: 5, Ordinal: media.ByCalendar}.Figures(0)),
		"none of the known":   second(media.Set{}.Figures(0)),
		"count from 0":        second(must(media.RoundRobin(2, "")).Slot(-1, rotation.Day{}, media.Hours{})),
	} {
		require.ErrorIs(t, err, media.ErrSet)
		require.ErrorContains(t, err, want)
	}
}

func second[T any](_ T, err error) error { return err }

// The strategy keeps to its bound at every session, on the copies that really are on the media; the bound
// itself lies a little above ln 4, below which none can stay for many media.
func TestSpreadKeepsToItsBound(t *testing.T) {
	for n := 4; n <= 20; n++ {
		bound := media.SpreadBound(n)
		require.Greater(t, bound, math.Log(4))
		require.Less(t, bound, 1.59)
		set, err := media.Spread(n)
		require.NoError(t, err)
		k := float64(n - 2)
		last := map[int]int{}
		worst := 0.0
		for s := 1; s <= 3000; s++ {
			slot, err := set.Slot(s-1, rotation.Day{}, media.Hours{})
			require.NoError(t, err)
			// While this medium is overwritten its old copy is gone already.
			require.False(t, s > 1 && last[slot.Index] == s-1, "the newest copy is never overwritten")
			last[slot.Index] = s
			points := []int{0}
			for _, at := range last {
				points = append(points, at)
			}
			slices.Sort(points)
			gap := 0
			for i := 1; i < len(points); i++ {
				gap = max(gap, points[i]-points[i-1])
			}
			ideal := float64(s) / (k + 1)
			require.LessOrEqual(t, float64(gap), bound*ideal+1, "%d media, session %d: %v", n, s, points)
			if s > 1000 {
				worst = max(worst, float64(gap)/ideal)
			}
		}
		require.Greater(t, worst, 1.2, "the measure looks at something")
		t.Logf("%2d media: discrepancy %.3f over sessions 1001 to 3000, bound %.3f, ln 4 = %.3f", n, worst, bound, math.Log(4))
	}
	require.Zero(t, media.SpreadBound(3))
	require.Zero(t, media.SpreadBound(200))
}

func TestPeriodsRepeatAndStayInBounds(t *testing.T) {
	for _, s := range []media.Set{must(media.RoundRobin(7, media.BySession)), must(media.Hanoi(6, media.BySession)),
		must(media.SixTapeFridayAB(media.BySession)), must(media.GFS(media.Tiers{Daily: 6, Weekly: 5, Monthly: 7}, media.BySession)),
		must(media.GFS(media.Tiers{Daily: 4, Weekly: 4, Monthly: 11, Yearly: 2}, media.BySession))} {
		p := s.Period()
		require.Positive(t, p)
		for n := range 200 {
			require.Equal(t, must(s.Slot(n, today, media.Hours{})), must(s.Slot(n+p, today, media.Hours{})), "%s", s)
		}
	}
	wild := must(media.GFS(media.Tiers{Daily: 61, Weekly: 59, Monthly: 53, Yearly: 47}, media.BySession))
	require.LessOrEqual(t, wild.Period(), 1<<30)
	f := figures(t, wild, nil)
	require.False(t, f.Repeats)
	require.Empty(t, f.NeverWritten)
	require.Equal(t, 1<<13-1, figures(t, must(media.Hanoi(15, media.ByCalendar)), nil).Horizon)
	require.Zero(t, must(media.Spread(5)).Period())
	require.Zero(t, must(media.GFS(media.Tiers{Daily: 4, Weekly: 4, Monthly: 12}, media.ByCalendar)).Period())
}

func TestFiguresSayWhichMediumIsNeverWritten(t *testing.T) {
	f := figures(t, must(media.GFS(media.Tiers{Daily: 5, Weekly: 4, Monthly: 12}, media.ByCalendar)), nil)
	require.Equal(t, []string{"daily-5"}, f.NeverWritten)
	require.Equal(t, "grandfather-father-son 5+4+12", fmt.Sprint(must(media.GFS(media.Tiers{Daily: 5, Weekly: 4, Monthly: 12}, ""))))
}
