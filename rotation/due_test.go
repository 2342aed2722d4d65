package rotation_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/rotation"
)

// dueIDs returns the ids, marked with "late" where they catch up.
func dueIDs(t testing.TB, ws []rotation.Window, z rotation.Zone, done rotation.Done, now string, o *rotation.DueOptions) []string {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", now, z.Location)
	require.NoError(t, err)
	due, err := rotation.Due(ws, z, rotation.Holidays{}, done, at, o)
	require.NoError(t, err)
	ids := []string{}
	for _, o := range due {
		id := o.ID()
		if o.CatchUp {
			id = "late " + id
		}
		ids = append(ids, id)
	}
	return ids
}

func TestDue(t *testing.T) {
	z := at(t, "Australia/Sydney")
	z.DayStart = clock(4, 0)
	ws := []rotation.Window{window(t, `"opens":"20:00","startWithin":"6h","blackouts":[{"from":"08:00","to":"18:00"}]`)}
	since := &rotation.DueOptions{Since: date(2026, 11, 18)}
	due := func(now string, done ...string) []string {
		set := rotation.Done{}
		for _, id := range done {
			set[id] = true
		}
		return dueIDs(t, ws, z, set, now, since)
	}
	require.Empty(t, due("2026-11-18 19:59"), "nothing has begun since the windows were set up")
	require.Equal(t, []string{"nightly@2026-11-18"}, due("2026-11-18 20:00"))
	require.Equal(t, []string{"nightly@2026-11-18"}, due("2026-11-19 01:59"), "the small hours are yesterday's")
	require.Empty(t, due("2026-11-19 01:59", "nightly@2026-11-18"), "firing twice is harmless")
	require.Empty(t, due("2026-11-19 02:00"), "too late to start, and no window is open")
	require.Empty(t, due("2026-11-19 12:00"), "never in opening hours")
	require.Equal(t, []string{"nightly@2026-11-19"}, due("2026-11-19 20:00"), "tonight's run holds what yesterday's would have")
}

// Days off are caught up: the newest first, as many as asked for, in the hours of any window, and in opening
// hours only when the newest verified point is too old.
func TestDueCatchUp(t *testing.T) {
	z := at(t, "Australia/Sydney")
	blackout := `"blackouts":[{"from":"08:00","to":"18:00","weekdays":["mon","tue","wed","thu","fri"]}]`
	nightly := window(t, `"opens":"20:00",`+blackout)
	weekly := window(t, `"name":"weekly","opens":"13:00","length":"3h","days":[{"weekdays":["sat"]}],`+blackout)
	ws := []rotation.Window{nightly, weekly}
	set := rotation.Done{"weekly@2026-11-14": true, "nightly@2026-11-15": true}

	// Off from Monday to Thursday; on again on Friday at noon.
	require.Empty(t, dueIDs(t, ws, z, set, "2026-11-20 12:00", nil))
	require.Equal(t, []string{"nightly@2026-11-20"}, dueIDs(t, ws, z, set, "2026-11-20 20:00", nil))
	three := &rotation.DueOptions{CatchUp: 3, Since: date(2026, 11, 14)}
	require.Equal(t, []string{"nightly@2026-11-20", "late nightly@2026-11-19", "late nightly@2026-11-18"},
		dueIDs(t, ws, z, set, "2026-11-20 20:00", three))
	require.Empty(t, dueIDs(t, ws, z, set, "2026-11-20 12:00", three))

	// Off on Saturday too: the weekly run has the hours of the nightly.
	set["nightly@2026-11-21"] = true
	require.Empty(t, dueIDs(t, ws, z, set, "2026-11-22 19:59", nil))
	require.Equal(t, []string{"nightly@2026-11-22", "late weekly@2026-11-21"}, dueIDs(t, ws, z, set, "2026-11-22 20:00", nil))
	require.Equal(t, []string{"nightly@2026-11-22"}, dueIDs(t, ws, z, set, "2026-11-22 20:00", &rotation.DueOptions{CatchUp: -1}))

	// The breach.
	noon, _ := z.Instant(date(2026, 11, 20), clock(12, 0))
	breach := func(age time.Duration) *rotation.DueOptions {
		return &rotation.DueOptions{Breach: 48 * time.Hour, Verified: noon.Add(-age)}
	}
	require.Empty(t, dueIDs(t, ws, z, set, "2026-11-20 12:00", breach(48*time.Hour)))
	require.Equal(t, []string{"late nightly@2026-11-19"}, dueIDs(t, ws, z, set, "2026-11-20 12:00", breach(49*time.Hour)))
	require.Empty(t, dueIDs(t, ws, z, set, "2026-11-20 12:00", breach(-time.Hour)), "a clock that runs behind is no breach")
	due, err := rotation.Due(ws, z, rotation.Holidays{}, set, noon, breach(49*time.Hour))
	require.NoError(t, err)
	require.Equal(t, "missed, and run outside the hours because the newest verified point is 49h0m0s old, more than 48h0m0s",
		due[0].Reason)
	require.Zero(t, due[0].Closes)
	due, err = rotation.Due(ws, z, rotation.Holidays{}, set, noon, &rotation.DueOptions{Breach: time.Hour})
	require.NoError(t, err)
	require.Equal(t, "missed, and run outside the hours because no point is verified", due[0].Reason)
}

// A window of a long Saturday goes around its blackout.
func TestDueBlackout(t *testing.T) {
	z := at(t, "Australia/Sydney")
	ws := []rotation.Window{window(t, `"opens":"06:00","length":"12h","days":[{"weekdays":["sat"]}],
		"blackouts":[{"from":"08:00","to":"12:00"},{"from":"05:00","to":"06:30"}]`)}
	for now, closes := range map[string]string{"06:29": "", "06:30": "08:00", "07:59": "08:00", "08:00": "", "11:59": "",
		"12:00": "18:00", "17:59": "18:00", "18:00": ""} {
		cl, err := rotation.ParseClock(now)
		require.NoError(t, err)
		instant, _ := z.Instant(date(2026, 11, 21), cl)
		due, err := rotation.Due(ws, z, rotation.Holidays{}, nil, instant, &rotation.DueOptions{Since: date(2026, 11, 21)})
		require.NoError(t, err)
		if closes == "" {
			require.Empty(t, due, now)
			continue
		}
		require.Len(t, due, 1, now)
		require.Equal(t, closes, due[0].Closes.Format("15:04"), now)
		require.Equal(t, []string{"06:00", "06:30", "18:00"}, []string{due[0].Opens.Format("15:04"),
			due[0].Start.Format("15:04"), due[0].Latest.Format("15:04")})
	}

	// One that is blacked out altogether says so.
	ws = []rotation.Window{window(t, `"opens":"09:00","length":"2h","blackouts":[{"from":"08:00","to":"18:00"}]`)}
	next, err := rotation.Next(ws, z, rotation.Holidays{}, time.Date(2026, 11, 21, 0, 0, 0, 0, z.Location), nil)
	require.NoError(t, err)
	require.Equal(t, "blackouts leave no moment to start in this window", next[0].Reason)
	require.Equal(t, next[0].Opens, next[0].Latest)
}

// A run that a holiday moved may overtake one whose day is later.
func TestHolidayOvertakes(t *testing.T) {
	z := at(t, "Australia/Sydney")
	h := holidays(t, `{"days":{"2026-12-25":"Christmas Day","2026-12-28":"Boxing Day holiday"}}`)
	ws := []rotation.Window{window(t, `"opens":"20:00","days":[{"weekdays":["fri","sun"]}],"holidays":"later"`)}
	due, err := rotation.Due(ws, z, h, nil, time.Date(2026, 12, 29, 20, 0, 0, 0, z.Location), nil)
	require.NoError(t, err)
	require.Equal(t, "nightly@2026-12-25", due[0].ID())
	require.False(t, due[0].CatchUp)

	ws = []rotation.Window{window(t, `"opens":"20:00","days":[{"weekdays":["sun","mon"]}],"holidays":"earlier"`)}
	next, err := rotation.Next(ws, z, h, time.Date(2026, 12, 22, 12, 0, 0, 0, z.Location), nil)
	require.NoError(t, err)
	require.Equal(t, "nightly@2026-12-28", next[0].ID())
	require.Equal(t, date(2026, 12, 24), next[0].RunDay)
}

// A blackout covers both readings of the hour that comes twice.
func TestBlackoutFold(t *testing.T) {
	z := at(t, "Australia/Sydney")
	ws := []rotation.Window{window(t, `"opens":"00:00","length":"6h","blackouts":[{"from":"01:00","to":"02:30"}]`)}
	next, err := rotation.Next(ws, z, rotation.Holidays{}, time.Date(2027, 4, 3, 12, 0, 0, 0, z.Location), nil)
	require.NoError(t, err)
	require.Equal(t, "2027-04-04T01:00:00+11:00", next[0].Closes.Format(time.RFC3339))
	until := []rotation.Window{window(t, `"opens":"00:00","length":"6h","blackouts":[{"from":"02:30","to":"05:00"}]`)}
	next, err = rotation.Next(until, z, rotation.Holidays{}, time.Date(2027, 4, 3, 12, 0, 0, 0, z.Location), nil)
	require.NoError(t, err)
	require.Equal(t, "2027-04-04T02:30:00+11:00", next[0].Closes.Format(time.RFC3339))
	for _, c := range []struct {
		utc  string
		busy bool
	}{{"14:00", true}, {"15:30", true}, {"16:00", true}, {"16:29", true}, {"16:30", false}} {
		now, err := time.Parse(time.RFC3339, "2027-04-03T"+c.utc+":00Z")
		require.NoError(t, err)
		due, err := rotation.Due(ws, z, rotation.Holidays{}, nil, now, nil)
		require.NoError(t, err)
		require.Equal(t, c.busy, len(due) == 0, c.utc)
	}
}

func TestJitter(t *testing.T) {
	z := at(t, "Europe/London")
	ws := []rotation.Window{window(t, `"opens":"20:00","jitter":"60m"`)}
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, z.Location)
	starts := map[time.Duration]int{}
	for site := range 3000 {
		o := &rotation.DueOptions{Site: fmt.Sprint("site ", site)}
		next, err := rotation.Next(ws, z, rotation.Holidays{}, noon, o)
		require.NoError(t, err)
		again, err := rotation.Next(ws, z, rotation.Holidays{}, noon.Add(time.Hour), o)
		require.NoError(t, err)
		require.Equal(t, next, again, "a restart does not draw again")
		wait := next[0].Start.Sub(next[0].Opens)
		require.True(t, wait >= 0 && wait < time.Hour)
		starts[wait.Truncate(5*time.Minute)]++

		if site > 20 {
			continue
		}
		early, err := rotation.Due(ws, z, rotation.Holidays{}, nil, next[0].Start.Add(-time.Second), o)
		require.NoError(t, err)
		require.Empty(t, early, "it waits, and does not catch up either")
		due, err := rotation.Due(ws, z, rotation.Holidays{}, nil, next[0].Start, o)
		require.NoError(t, err)
		require.Len(t, due, 1)
	}
	require.Len(t, starts, 12)
	for _, n := range starts { // 250 expected; six standard deviations are 91
		require.InDelta(t, 250, n, 91)
	}
}

func TestDueRefused(t *testing.T) {
	w := window(t, `"opens":"20:00"`)
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for says, call := range map[string]func() error{
		"two windows": func() error {
			_, err := rotation.Due([]rotation.Window{w, w}, rotation.Zone{}, rotation.Holidays{}, nil, now, nil)
			return err
		},
		"how long": func() error {
			_, err := rotation.Due([]rotation.Window{{Name: "a"}}, rotation.Zone{}, rotation.Holidays{}, nil, now, nil)
			return err
		},
		"wall clock": func() error {
			_, err := rotation.Due([]rotation.Window{w}, rotation.Zone{}, rotation.Holidays{}, nil, time.Time{}, nil)
			return err
		},
		"GapAfter": func() error {
			_, err := rotation.Next([]rotation.Window{w}, rotation.Zone{Gap: 9}, rotation.Holidays{}, now, nil)
			return err
		},
		"negative": func() error {
			_, err := rotation.Next([]rotation.Window{w}, rotation.Zone{}, rotation.Holidays{}, now, &rotation.DueOptions{Breach: -1})
			return err
		},
		"weekdays": func() error {
			h := rotation.Holidays{Workdays: []time.Weekday{8}}
			_, err := rotation.Next([]rotation.Window{w}, rotation.Zone{}, h, now, nil)
			return err
		},
	} {
		require.ErrorContains(t, call(), says)
	}
	due, err := rotation.Due(nil, rotation.Zone{}, rotation.Holidays{}, nil, now, nil)
	require.NoError(t, err)
	require.Empty(t, due)
}

// P19: over every transition of every zone from 2020 to 2040, with windows that open in and around it, a
// service that asks every few minutes runs every business day's occurrence exactly once.
func TestDueOncePerDayEveryTransition(t *testing.T) {
	cs := allChanges(t)
	r := rand.New(rand.NewPCG(1, 2))
	adjusted := 0
	for i, c := range cs {
		if !long() && i%20 != 0 {
			continue
		}
		z := rotation.Zone{Location: c.loc, DayStart: clock(r.IntN(5), 0), Gap: rotation.Gap(r.IntN(2)), Fold: rotation.Fold(r.IntN(2))}
		var ws []rotation.Window
		for _, minutes := range []int64{-45, -15, 0, 15, 45, 600} {
			_, cl := civil(c.at + min(c.before, c.after) + minutes*60)
			ws = append(ws, rotation.Window{Name: fmt.Sprintf("w%d", minutes+100), Opens: cl, Length: 3 * time.Hour})
		}
		day := z.BusinessDay(time.Unix(c.at, 0))
		o := &rotation.DueOptions{Since: day.AddDays(-1)}
		begin, _ := z.Instant(o.Since, z.DayStart)
		end, _ := z.Instant(day.AddDays(2), z.DayStart)
		done := rotation.Done{}
		for now := begin; now.Before(end); now = now.Add(10 * time.Minute) {
			due, err := rotation.Due(ws, z, rotation.Holidays{}, done, now, o)
			require.NoError(t, err)
			for _, o := range due {
				require.False(t, done[o.ID()], o.ID())
				require.False(t, o.CatchUp)
				done[o.ID()] = true
				if o.Adjustment != (rotation.Adjustment{}) {
					adjusted++
				}
			}
		}
		require.Len(t, done, 3*len(ws), "%s at %d: %v", c.loc, c.at, done)
	}
	require.NotZero(t, adjusted)
}

// drawWindows makes windows of all kinds.
func drawWindows(t *rapid.T) (ws []rotation.Window) {
	for i := range rapid.IntRange(1, 3).Draw(t, "windows") {
		w := rotation.Window{Name: fmt.Sprint("w", i)}
		w.Opens = clock(rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"))
		w.Length = time.Duration(rapid.IntRange(1, 48).Draw(t, "half hours")) * 30 * time.Minute
		w.Jitter = w.Length / 2 / time.Minute * time.Minute
		w.Holidays = rapid.SampledFrom([]rotation.HolidayPolicy{rotation.HolidayRun, rotation.HolidayEarlier,
			rotation.HolidayLater, rotation.HolidaySunday}).Draw(t, "policy")
		switch rapid.IntRange(0, 4).Draw(t, "days") {
		case 1:
			w.Days = []rotation.Recurrence{{Weekdays: []time.Weekday{1, 2, 3, 4, 5}}}
		case 2:
			w.Days = []rotation.Recurrence{{Last: rotation.LastOfWeek}}
		case 3:
			w.Days = []rotation.Recurrence{{MonthDays: []int{-1}}, {Weekdays: []time.Weekday{0}, Nth: []int{1}}}
		case 4:
			w.Days = []rotation.Recurrence{{Every: 3, Anchor: date(2026, 1, 1)}}
		}
		if rapid.Bool().Draw(t, "blackout") {
			w.Blackouts = []rotation.Blackout{{From: clock(8, 0), To: clock(18, 0), Weekdays: []time.Weekday{1, 2, 3, 4, 5}}}
		}
		ws = append(ws, w)
	}
	return ws
}

// Due is a set difference, deterministic and idempotent: taking some occurrences as done removes exactly
// these and brings up no others. Its ids are unique and in order.
func TestDueIsASetDifference(t *testing.T) {
	h := holidays(t, `{"days":{"2026-12-25":"Christmas Day","2026-12-28":"Boxing Day","2027-01-01":"New Year","2026-10-05":"Labour Day"}}`)
	z := at(t, "Australia/Sydney")
	z.DayStart = clock(4, 0)
	some := 0
	rapid.Check(t, func(t *rapid.T) {
		ws := drawWindows(t)
		now := time.Date(2026, 9, 25, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 110*24*60).Draw(t, "now")) * time.Minute)
		o := &rotation.DueOptions{
			Site:    "site",
			CatchUp: rapid.IntRange(-1, 5).Draw(t, "catch up"),
			Since:   rotation.DayOf(now).AddDays(-rapid.IntRange(0, 60).Draw(t, "since")),
			Breach:  time.Duration(rapid.IntRange(0, 1).Draw(t, "breach")) * time.Hour,
		}
		all, err := rotation.Due(ws, z, h, nil, now, o)
		require.NoError(t, err)
		again, err := rotation.Due(ws, z, h, rotation.Done{}, now, o)
		require.NoError(t, err)
		require.Equal(t, all, again)

		done, ids := rotation.Done{}, map[string]bool{}
		var left []rotation.Occurrence
		for i, occurrence := range all {
			id := occurrence.ID()
			require.False(t, ids[id])
			ids[id] = true
			require.False(t, occurrence.Opens.After(now))
			require.False(t, occurrence.Day.Before(o.Since))
			require.True(t, i == 0 || !occurrence.Opens.After(all[i-1].Opens))
			if rapid.Bool().Draw(t, "done") {
				done[id] = true
			} else {
				left = append(left, occurrence)
			}
		}
		some += len(all)
		rest, err := rotation.Due(ws, z, h, done, now, o)
		require.NoError(t, err)
		require.Equal(t, left, rest)
		for _, w := range ws {
			n := 0
			for _, occurrence := range all {
				if occurrence.Window == w.Name {
					n++
				}
			}
			require.LessOrEqual(t, n, max(1, o.CatchUp))
		}
	})
	require.NotZero(t, some)
}

// No holiday table makes a day's backup disappear, not even one that names every day of a fortnight: with any
// policy there is an occurrence for each weekday, and one for each week.
func TestHolidaysSuppressNothing(t *testing.T) {
	z := at(t, "Australia/Sydney")
	h := rotation.Holidays{Days: map[rotation.Day]string{}}
	for d := date(2026, 12, 21); d.Before(date(2027, 1, 5)); d = d.AddDays(1) {
		h.Days[d] = "closed"
	}
	for _, policy := range []string{"run", "earlier", "later", "sunday"} {
		w := window(t, `"opens":"20:00","days":[{"weekdays":["mon","tue","wed","thu","fri"]}],"holidays":"`+policy+`"`)
		weekly := window(t, `"name":"weekly","opens":"21:00","days":[{"last":"week"}],"holidays":"`+policy+`"`)
		ws := []rotation.Window{w, weekly}
		done, since := rotation.Done{}, &rotation.DueOptions{Since: date(2026, 12, 14), CatchUp: 40}
		for now := time.Date(2026, 12, 1, 0, 0, 0, 0, z.Location); now.Year() == 2026 || now.Day() < 25; now = now.Add(30 * time.Minute) {
			due, err := rotation.Due(ws, z, h, done, now, since)
			require.NoError(t, err)
			for _, o := range due {
				done[o.ID()] = true
			}
		}
		for d := since.Since; d.Before(date(2027, 1, 9)); d = d.AddDays(1) {
			weekday := d.Weekday() != time.Saturday && d.Weekday() != time.Sunday
			ran := done["nightly@"+d.String()] || policy == "sunday" && done["weekly@"+d.String()]
			require.Equal(t, weekday, ran, "%s %s", policy, d)
		}
		for _, d := range []rotation.Day{date(2026, 12, 18), date(2026, 12, 25), date(2027, 1, 1), date(2027, 1, 8)} {
			require.True(t, done["weekly@"+d.String()], "%s %s", policy, d)
		}
	}
}

func TestActivity(t *testing.T) {
	var a rotation.Activity
	_, err := a.Suggest(time.Hour)
	require.ErrorContains(t, err, "no writes")
	// A practice that writes from 08:00 to 18:00 on weekdays, with reports at 02:00.
	for wd := 1; wd <= 5; wd++ {
		for i := 16; i < 36; i++ {
			a[wd][i] = 100
		}
		a[wd][4] = 10
	}
	s, err := a.Suggest(6 * time.Hour)
	require.NoError(t, err)
	require.Equal(t, rotation.Suggestion{Opens: clock(19, 0), Length: 6 * time.Hour, Writes: 0, Total: 10050,
		Earliest: clock(18, 0), Latest: clock(20, 0)}, s)
	require.Equal(t, "open at 19:00 for 6h: 0 of 10050 writes (0.0 %) fall into it; opening at any time from 18:00 to 20:00 is as quiet",
		s.String())
	require.EqualValues(t, 50, a.Writes(clock(20, 0), 10*time.Hour))
	require.EqualValues(t, 40, a.Writes(clock(20, 0), 10*time.Hour, 1, 2, 3, 4, 5), "Friday's night is quiet")
	require.EqualValues(t, 10050, a.Writes(clock(3, 17), 24*time.Hour))
	require.EqualValues(t, 500, a.Writes(clock(8, 10), time.Minute))

	s, err = a.Suggest(16*time.Hour, time.Saturday)
	require.NoError(t, err)
	require.Zero(t, s.Writes)
	_, err = a.Suggest(25 * time.Hour)
	require.Error(t, err)
	a[0][0] = -1
	_, err = a.Suggest(time.Hour)
	require.Error(t, err)
}

// The suggestion is a true minimum.
func TestSuggestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a rotation.Activity
		for wd := range a {
			copy(a[wd][:], rapid.SliceOfN(rapid.Int64Range(0, 3), 48, 48).Draw(t, "writes"))
		}
		a[3][20]++
		length := time.Duration(rapid.IntRange(1, 1440).Draw(t, "length")) * time.Minute
		s, err := a.Suggest(length)
		require.NoError(t, err)
		var all []int64
		for i := range 48 {
			all = append(all, a.Writes(clock(i/2, i%2*30), s.Length))
		}
		require.Equal(t, slices.Min(all), s.Writes)
		for _, c := range []rotation.Clock{s.Opens, s.Earliest, s.Latest} {
			require.Equal(t, s.Writes, a.Writes(c, s.Length))
		}
	})
}

func BenchmarkDue(b *testing.B) {
	z := at(b, "Australia/Sydney")
	ws := []rotation.Window{
		window(b, `"opens":"20:00","blackouts":[{"from":"08:00","to":"18:00"}]`),
		window(b, `"name":"weekly","opens":"13:00","days":[{"last":"week"}]`),
		window(b, `"name":"yearly","opens":"13:00","days":[{"monthDays":[30],"months":[6]}]`),
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, z.Location)
	for b.Loop() {
		if _, err := rotation.Due(ws, z, rotation.Holidays{}, nil, now, nil); err != nil {
			b.Fatal(err)
		}
	}
}
