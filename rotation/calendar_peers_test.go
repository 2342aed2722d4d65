package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// The tests here are of what other schedulers and backup programs got wrong with time.

// carryOut asks every step from first to last, as a service does, and returns the starts by id.
func carryOut(t *testing.T, ws []rotation.Window, z rotation.Zone, h rotation.Holidays, first, last time.Time, step time.Duration) map[string]time.Time {
	t.Helper()
	done, starts := rotation.Done{}, map[string]time.Time{}
	o := &rotation.DueOptions{Since: z.BusinessDay(first)}
	for now := first; now.Before(last); now = now.Add(step) {
		due, err := rotation.Due(ws, z, h, done, now, o)
		require.NoError(t, err)
		for _, o := range due {
			require.NotContains(t, starts, o.ID())
			done[o.ID()], starts[o.ID()] = true, now
		}
	}
	return starts
}

// robfig/cron and cronexpr skip the day whose 02:30 does not exist.
func TestRobfigGapSkipsTheDay(t *testing.T) {
	z := at(t, "Australia/Sydney")
	ws := []rotation.Window{window(t, `"opens":"02:30","length":"3h"`)}
	first := time.Date(2026, 10, 3, 0, 0, 0, 0, z.Location)
	starts := carryOut(t, ws, z, rotation.Holidays{}, first, first.AddDate(0, 0, 3), time.Minute)
	require.Len(t, starts, 3)
	require.Equal(t, "2026-10-04T03:00:00+11:00", starts["nightly@2026-10-04"].Format(time.RFC3339))
}

// robfig/cron, cronexpr and go-cron's Next fire twice at the 02:30 that exists twice; sanoid#155 made 60
// snapshots in that hour.
func TestRobfigFoldFiresTwice(t *testing.T) {
	z := at(t, "Australia/Sydney")
	ws := []rotation.Window{window(t, `"opens":"02:30","length":"3h"`)}
	first := time.Date(2027, 4, 3, 0, 0, 0, 0, z.Location)
	starts := carryOut(t, ws, z, rotation.Holidays{}, first, first.AddDate(0, 0, 3), time.Minute)
	require.Len(t, starts, 3)
	require.Equal(t, "2027-04-04T02:30:00+11:00", starts["nightly@2027-04-04"].Format(time.RFC3339))
}

// go-cron looks for gaps of an hour: on Lord Howe Island, where the clocks change by half an hour, it skips
// 02:15, and fires twice at 01:45.
func TestGoCronLordHowe(t *testing.T) {
	z := at(t, "Australia/Lord_Howe")
	ws := []rotation.Window{window(t, `"name":"gap","opens":"02:15","length":"1h"`), window(t, `"name":"fold","opens":"01:45","length":"1h"`)}
	for day, want := range map[rotation.Day][2]string{
		date(2026, 10, 4): {"2026-10-04T02:30:00+11:00", "2026-10-04T01:45:00+10:30"},
		date(2027, 4, 4):  {"2027-04-04T02:15:00+10:30", "2027-04-04T01:45:00+11:00"},
	} {
		first := time.Date(day.Year, day.Month, day.Day, 0, 0, 0, 0, z.Location)
		starts := carryOut(t, ws, z, rotation.Holidays{}, first, first.Add(12*time.Hour), time.Minute)
		require.Len(t, starts, 2)
		require.Equal(t, want[0], starts["gap@"+day.String()].Format(time.RFC3339))
		require.Equal(t, want[1], starts["fold@"+day.String()].Format(time.RFC3339))
	}
}

// time.Date takes the first of two readings in New York and the second in London, and in a gap moves back
// in New York and forward elsewhere. Here one rule holds everywhere.
func TestTimeDateDiffersByZone(t *testing.T) {
	for name, days := range map[string][2]rotation.Day{
		"America/New_York": {date(2026, 3, 8), date(2026, 11, 1)},
		"Europe/London":    {date(2026, 3, 29), date(2026, 10, 25)},
		"Europe/Berlin":    {date(2026, 3, 29), date(2026, 10, 25)},
		"Australia/Sydney": {date(2026, 10, 4), date(2026, 4, 5)},
		"Pacific/Auckland": {date(2026, 9, 27), date(2026, 4, 5)},
	} {
		z := at(t, name)
		h := 2
		if name == "Europe/London" || name == "America/New_York" {
			h = 1
		}
		first, adjusted := z.Instant(days[1], clock(h, 30))
		require.Equal(t, rotation.Adjustment{Fold: 1}, adjusted, name)
		z.Fold = rotation.FoldSecond
		second, _ := z.Instant(days[1], clock(h, 30))
		require.Equal(t, time.Hour, second.Sub(first), name)

		if name == "America/New_York" {
			h = 2
		}
		got, adjusted := z.Instant(days[0], clock(h, 30))
		require.Equal(t, rotation.Adjustment{Moved: 30 * time.Minute}, adjusted, name)
		require.Equal(t, [2]int{h + 1, 0}, [2]int{got.Hour(), got.Minute()}, name)
	}
}

// kopia finds the next run by adding 24 hours, so 20:00 becomes 21:00 when the clocks change.
func TestKopiaAddsADay(t *testing.T) {
	z := at(t, "Australia/Sydney")
	ws := []rotation.Window{window(t, `"opens":"20:00"`)}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, z.Location)
	for range 500 {
		next, err := rotation.Next(ws, z, rotation.Holidays{}, now, nil)
		require.NoError(t, err)
		require.Equal(t, rotation.DayOf(now), next[0].Day)
		require.Equal(t, "20:00", next[0].Opens.Format("15:04"))
		now = now.AddDate(0, 0, 1)
	}
}

// kopia#5348: daily buckets in UTC change in the middle of a surgery in Sydney. restic#2233, #3722, #4415:
// buckets follow the zone of whatever machine looks. A business day depends on the practice's zone alone.
func TestKopia5348AndResticZones(t *testing.T) {
	z := at(t, "Australia/Sydney")
	z.DayStart = clock(4, 0)
	for h := 4; h < 28; h++ {
		instant := time.Date(2026, 11, 20, h, 0, 0, 0, z.Location)
		for _, machine := range []string{"UTC", "America/Los_Angeles", "Australia/Sydney", "Pacific/Kiritimati"} {
			require.Equal(t, date(2026, 11, 20), z.BusinessDay(instant.In(at(t, machine).Location)), "%d %s", h, machine)
		}
	}
}

// crontab's "0 20 1 * 0" is the 1st or a Sunday: five runs in October 2026. go-cron takes it for "and".
func TestCronDayOrWeekday(t *testing.T) {
	ws, err := rotation.ImportCron("0 20 1 * 0", rotation.Zone{}, base)
	require.NoError(t, err)
	require.Equal(t, []rotation.Day{date(2026, 10, 1), date(2026, 10, 4), date(2026, 10, 11), date(2026, 10, 18), date(2026, 10, 25)},
		opens(t, ws[0], rotation.Zone{}, rotation.Holidays{}, date(2026, 10, 1), date(2026, 10, 31)))
}

// A rule "monthly from the 31st" skips the short months; the month's end does not.
func TestRRuleMonthEnd(t *testing.T) {
	ws, err := rotation.ImportRRule("FREQ=MONTHLY;BYMONTHDAY=-1", date(2026, 1, 31), clock(20, 0), rotation.Zone{}, base)
	require.NoError(t, err)
	require.Len(t, opens(t, ws[0], rotation.Zone{}, rotation.Holidays{}, date(2026, 1, 1), date(2027, 12, 31)), 24)
	ws, err = rotation.ImportRRule("FREQ=MONTHLY", date(2026, 1, 31), clock(20, 0), rotation.Zone{}, base)
	require.NoError(t, err)
	require.Len(t, opens(t, ws[0], rotation.Zone{}, rotation.Holidays{}, date(2026, 1, 1), date(2027, 12, 31)), 14)
}

// "Weekly" on Fridays with a practice that closes loses Good Friday each year, and around New Year 2027 two
// Fridays in a row: 21 days. The last business day of the week comes every week.
func TestGoodFridayAndTheTwoFridays(t *testing.T) {
	z := at(t, "Australia/Sydney")
	h := rotation.Holidays{Days: map[rotation.Day]string{
		date(2026, 4, 3): "Good Friday", date(2026, 4, 6): "Easter Monday", date(2026, 12, 25): "Christmas Day",
		date(2026, 12, 28): "Boxing Day holiday", date(2027, 1, 1): "New Year's Day", date(2027, 3, 26): "Good Friday",
	}}
	weekly := window(t, `"name":"weekly","opens":"20:00","days":[{"last":"week"}]`)
	days := opens(t, weekly, z, h, date(2026, 1, 1), date(2027, 12, 31))
	require.Len(t, days, 105)
	longest := 0
	for i, d := range days {
		require.True(t, h.Business(d))
		if i > 0 {
			longest = max(longest, d.Sub(days[i-1]))
		}
	}
	require.Equal(t, 8, longest)
	require.Contains(t, days, date(2026, 4, 2))
	require.Contains(t, days, date(2026, 12, 24))
	require.Contains(t, days, date(2026, 12, 31))

	// Fridays with a policy are not lost either.
	friday := window(t, `"name":"weekly","opens":"20:00","days":[{"weekdays":["fri"]}],"holidays":"earlier"`)
	days = opens(t, friday, z, h, date(2026, 12, 14), date(2027, 1, 10))
	require.Equal(t, []rotation.Day{date(2026, 12, 18), date(2026, 12, 24), date(2026, 12, 31), date(2027, 1, 8)}, days)
}

// robfig#26: a clock set forward replayed 720 runs; golang/go#24595: a machine that slept fires late by as
// long as it slept. Here a call knows the time now, and nothing else.
func TestRobfig26ClockStepAndSleep(t *testing.T) {
	z := at(t, "Australia/Sydney")
	ws := []rotation.Window{window(t, `"opens":"20:00"`)}
	done := rotation.Done{"nightly@2026-11-19": true}
	awake := time.Date(2026, 11, 20, 23, 17, 0, 0, z.Location)
	for _, now := range []time.Time{awake, awake.AddDate(0, 0, 1), awake.AddDate(2, 0, 0)} {
		due, err := rotation.Due(ws, z, rotation.Holidays{}, done, now, nil)
		require.NoError(t, err)
		require.Len(t, due, 1)
		require.Equal(t, z.BusinessDay(now), due[0].Day)
	}
	// Set back into a night that was done, it waits for the next.
	due, err := rotation.Due(ws, z, rotation.Holidays{}, done, awake.AddDate(0, 0, -1), nil)
	require.NoError(t, err)
	require.Empty(t, due)
}

// duplicati#3987: a weekly run is dropped because the one before began seconds later in its week.
func TestDuplicati3987RunEarlyBySeconds(t *testing.T) {
	z := at(t, "Europe/London")
	ws := []rotation.Window{window(t, `"name":"weekly","opens":"20:00","days":[{"weekdays":["fri"]}]`)}
	first := time.Date(2026, 11, 20, 20, 0, 59, 0, z.Location)
	due, err := rotation.Due(ws, z, rotation.Holidays{}, nil, first, nil)
	require.NoError(t, err)
	done := rotation.Done{due[0].ID(): true}
	due, err = rotation.Due(ws, z, rotation.Holidays{}, done, first.AddDate(0, 0, 7).Add(-59*time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, "weekly@2026-11-27", due[0].ID())
}

// sanoid does not catch up a yearly run that was missed across New Year.
func TestSanoidMissedYearly(t *testing.T) {
	z := at(t, "Europe/London")
	ws := []rotation.Window{
		window(t, `"name":"yearly","opens":"20:00","days":[{"monthDays":[31],"months":[12]}]`),
		window(t, `"opens":"20:00"`),
	}
	require.Equal(t, []string{"nightly@2027-01-04", "late yearly@2026-12-31"},
		dueIDs(t, ws, z, nil, "2027-01-04 20:00", nil))
}

// A catch-up in the middle of the day has cycled power under running patients' systems: netbox 14983.
func TestCatchUpStaysOutOfOpeningHours(t *testing.T) {
	z := at(t, "Australia/Sydney")
	ws := []rotation.Window{window(t, `"opens":"20:00"`)}
	for h := 6; h < 20; h++ {
		now, _ := z.Instant(date(2026, 11, 20), clock(h, 0))
		due, err := rotation.Due(ws, z, rotation.Holidays{}, nil, now, nil)
		require.NoError(t, err)
		require.Empty(t, due, h)
	}
}
