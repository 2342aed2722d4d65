package rotation_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// window decodes a window; a name and a length are added where they are missing.
func window(t testing.TB, fields string) rotation.Window {
	t.Helper()
	text := `{` + fields + `}`
	for name, value := range map[string]string{"name": "nightly", "length": "10h"} {
		if !strings.Contains(fields, `"`+name+`"`) {
			text = `{"` + name + `":"` + value + `",` + text[1:]
		}
	}
	var w rotation.Window
	require.NoError(t, json.Unmarshal([]byte(text), &w))
	return w
}

func holidays(t testing.TB, text string) rotation.Holidays {
	t.Helper()
	var h rotation.Holidays
	require.NoError(t, json.Unmarshal([]byte(text), &h))
	return h
}

// opens lists the business days from first to last on which w opens, by asking for the next again and again.
func opens(t testing.TB, w rotation.Window, z rotation.Zone, h rotation.Holidays, first, last rotation.Day) (days []rotation.Day) {
	t.Helper()
	now, _ := z.Instant(first, z.DayStart)
	now = now.Add(-time.Minute)
	for {
		next, err := rotation.Next([]rotation.Window{w}, z, h, now, &rotation.DueOptions{Since: first})
		require.NoError(t, err)
		if len(next) == 0 || next[0].RunDay.After(last) {
			return days
		}
		days = append(days, next[0].RunDay)
		now = next[0].Opens
	}
}

func TestWindowJSON(t *testing.T) {
	const text = `{"name":"nightly","opens":"20:00","length":"10h","startWithin":"6h30m",` +
		`"days":[{"weekdays":["mon","fri"],"nth":[-1,1],"months":[1,7]},{"monthDays":[-1,15]},` +
		`{"every":3,"anchor":"2026-01-01"},{"last":"week"}],` +
		`"blackouts":[{"from":"08:00","to":"18:00","weekdays":["mon"]}],"holidays":"earlier","jitter":"45m"}`
	var w rotation.Window
	require.NoError(t, json.Unmarshal([]byte(text), &w))
	require.Equal(t, rotation.Window{
		Name: "nightly", Opens: clock(20, 0), Length: 10 * time.Hour, StartWithin: 390 * time.Minute,
		Days: []rotation.Recurrence{
			{Weekdays: []time.Weekday{1, 5}, Nth: []int{-1, 1}, Months: []time.Month{1, 7}},
			{MonthDays: []int{-1, 15}},
			{Every: 3, Anchor: date(2026, 1, 1)},
			{Last: rotation.LastOfWeek},
		},
		Blackouts: []rotation.Blackout{{From: clock(8, 0), To: clock(18, 0), Weekdays: []time.Weekday{1}}},
		Holidays:  rotation.HolidayEarlier, Jitter: 45 * time.Minute,
	}, w)
	data, err := json.Marshal(w)
	require.NoError(t, err)
	require.Equal(t, text, string(data))

	// The order of a list does not show.
	w.Days[0].Weekdays = []time.Weekday{5, 1}
	w.Days[1].MonthDays = []int{15, -1}
	again, err := json.Marshal(w)
	require.NoError(t, err)
	require.Equal(t, text, string(again))
	require.Equal(t, []int{15, -1}, w.Days[1].MonthDays, "the caller's list was reordered")
}

func TestWindowRefused(t *testing.T) {
	for fields, says := range map[string]string{
		`"opens":"20:00","colour":"blue"`:                                          "unknown field",
		`"opens":"20:00","opens":"21:00"`:                                          "twice",
		`"opens":"20:00","Opens":"21:00"`:                                          "twice",
		`"opens":"25:00"`:                                                          "00:00 to 23:59",
		`"name":"Nightly!","opens":"20:00"`:                                        "lower-case",
		`"name":"-a","opens":"20:00"`:                                              "lower-case",
		`"opens":"20:00","length":"0m"`:                                            "twice",
		`"opens":"20:00","startWithin":"11h"`:                                      "longer than its length",
		`"opens":"20:00","jitter":"10h"`:                                           "jitter",
		`"opens":"20:00","jitter":"10"`:                                            "hours and minutes",
		`"opens":"20:00","jitter":"h"`:                                             "hours and minutes",
		`"opens":"20:00","startWithin":"-1h"`:                                      "hours and minutes",
		`"opens":"20:00","holidays":"skip"`:                                        "run",
		`"opens":"20:00","days":[{"weekdays":["mon","mon"]}]`:                      "once",
		`"opens":"20:00","days":[{"weekdays":["Monday"]}]`:                         "mon",
		`"opens":"20:00","days":[{"nth":[1]}]`:                                     "nth needs weekdays",
		`"opens":"20:00","days":[{"weekdays":["mon"],"nth":[6]}]`:                  "-5 to 5",
		`"opens":"20:00","days":[{"monthDays":[0]}]`:                               "-31 to 31",
		`"opens":"20:00","days":[{"months":[13]}]`:                                 "1 to 12",
		`"opens":"20:00","days":[{"every":2}]`:                                     "go together",
		`"opens":"20:00","days":[{"anchor":"2026-01-01"}]`:                         "go together",
		`"opens":"20:00","days":[{"every":-2,"anchor":"2026-01-01"}]`:              "1 to 10000",
		`"opens":"20:00","days":[{"last":"year"}]`:                                 "month",
		`"opens":"20:00","days":[{"last":"week","weekdays":["fri"]}]`:              "months only",
		`"opens":"20:00","days":[{"monthDays":[30],"months":[2]}]`:                 "no day at all",
		`"opens":"20:00","days":[{"weekdays":["mon"],"nth":[1],"monthDays":[20]}]`: "no day at all",
		`"opens":"20:00","blackouts":[{"from":"08:00"}],"blackouts":[]`:            "twice",
	} {
		var w rotation.Window
		text := `{"name":"nightly","length":"10h",` + fields + `}`
		if strings.Contains(fields, `"name"`) {
			text = `{"length":"10h",` + fields + `}`
		}
		require.ErrorContains(t, json.Unmarshal([]byte(text), &w), says, fields)
		require.Zero(t, w)
	}
	require.ErrorContains(t, rotation.Window{Name: "nightly"}.Check(), "how long")
	require.ErrorContains(t, rotation.Window{Name: "nightly", Length: time.Second}.Check(), "whole minutes")
	require.ErrorContains(t, rotation.Window{Name: "nightly", Length: 200 * time.Hour}.Check(), "168h")
}

func TestRecurrence(t *testing.T) {
	days := func(s string) (out []rotation.Day) {
		for f := range strings.FieldsSeq(s) {
			d, err := rotation.ParseDay("2026-" + f)
			require.NoError(t, err)
			out = append(out, d)
		}
		return out
	}
	for fields, want := range map[string]string{
		`{"weekdays":["tue"]}`:                                  "10-06 10-13 10-20 10-27 11-03 11-10 11-17 11-24",
		`{"weekdays":["sun"],"nth":[1]}`:                        "10-04 11-01",
		`{"weekdays":["fri"],"nth":[-1]}`:                       "10-30 11-27",
		`{"weekdays":["fri","sat"],"nth":[5]}`:                  "10-30 10-31",
		`{"weekdays":["fri"],"monthDays":[13]}`:                 "11-13",
		`{"monthDays":[-1]}`:                                    "10-31 11-30",
		`{"monthDays":[31]}`:                                    "10-31",
		`{"monthDays":[-31]}`:                                   "10-01",
		`{"monthDays":[1,-1],"months":[11]}`:                    "11-01 11-30",
		`{"every":20,"anchor":"2026-10-10"}`:                    "10-10 10-30 11-19",
		`{"last":"week"}`:                                       "10-02 10-08 10-16 10-23 10-30 11-06 11-13 11-20 11-27",
		`{"last":"month"}`:                                      "10-30 11-30",
		`{"last":"month","months":[11]},{"monthDays":[1]}`:      "10-01 11-01 11-30",
		`{"weekdays":["wed"],"every":14,"anchor":"2026-10-07"}`: "10-07 10-21 11-04 11-18",
	} {
		w := window(t, `"opens":"20:00","days":[`+fields+`]`)
		h := holidays(t, `{"days":{"2026-10-09":"Show Day"}}`)
		require.Equal(t, days(want), opens(t, w, rotation.Zone{}, h, date(2026, 10, 1), date(2026, 11, 30)), fields)
	}
}

func TestHolidayPolicies(t *testing.T) {
	z := at(t, "Australia/Sydney")
	h := holidays(t, `{"days":{"2026-12-25":"Christmas Day","2026-12-28":"Boxing Day holiday"}}`)
	first, last := date(2026, 12, 21), date(2027, 1, 3)
	run := func(policy string) []rotation.Day {
		return opens(t, window(t, `"opens":"20:00","days":[{"weekdays":["fri"]}],"holidays":"`+policy+`"`), z, h, first, last)
	}
	require.Equal(t, []rotation.Day{date(2026, 12, 25), date(2027, 1, 1)}, run("run"))
	require.Equal(t, []rotation.Day{date(2026, 12, 24), date(2027, 1, 1)}, run("earlier"))
	require.Equal(t, []rotation.Day{date(2026, 12, 29), date(2027, 1, 1)}, run("later"))
	require.Equal(t, []rotation.Day{date(2026, 12, 25), date(2027, 1, 1)}, run("sunday"), "nothing else would run")

	// A run that moved keeps its name, and says why.
	w := window(t, `"name":"weekly","opens":"20:00","days":[{"weekdays":["fri"]}],"holidays":"later"`)
	now, _ := z.Instant(date(2026, 12, 29), clock(20, 0))
	due, err := rotation.Due([]rotation.Window{w}, z, h, nil, now, nil)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.Equal(t, "weekly@2026-12-25", due[0].ID())
	require.Equal(t, date(2026, 12, 29), due[0].RunDay)
	require.False(t, due[0].CatchUp)
	require.Equal(t, "Christmas Day, moved from 2026-12-25 to 2026-12-29", due[0].Reason)

	// Treated as a Sunday: the Sunday's window replaces the weekday's.
	ws := []rotation.Window{
		window(t, `"name":"weekday","opens":"20:00","days":[{"weekdays":["mon","tue","wed","thu","fri"]}],"holidays":"sunday"`),
		window(t, `"name":"sunday","opens":"12:00","days":[{"weekdays":["sun"]}],"holidays":"sunday"`),
	}
	now, _ = z.Instant(date(2026, 12, 25), clock(21, 0))
	due, err = rotation.Due(ws, z, h, rotation.Done{"weekday@2026-12-24": true}, now, nil)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.Equal(t, "sunday@2026-12-25", due[0].ID())
	require.Equal(t, "Christmas Day, treated as a Sunday", due[0].Reason)
}

// FuzzWindow: what is accepted passes Check, has one canonical form, and says what is next.
func FuzzWindow(f *testing.F) {
	f.Add([]byte(`{"name":"nightly","opens":"20:00","length":"10h"}`))
	f.Add([]byte(`{"name":"a","opens":"01:00","length":"90m","days":[{"monthDays":[29],"months":[2],"weekdays":["mon"]}]}`))
	f.Add([]byte(`{"name":"a","opens":"01:00","length":"90m","days":[{"every":9999,"anchor":"9998-01-01"}],"jitter":"1h"}`))
	f.Add([]byte(`{"name":"a","opens":"01:00","length":"168h","blackouts":[{"from":"00:00","to":"00:00"}],"holidays":"later"}`))
	now := time.Date(2026, 10, 4, 2, 30, 0, 0, time.UTC)
	h := holidays(f, `{"days":{"2026-10-05":"Labour Day"}}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		var w, again rotation.Window
		if json.Unmarshal(data, &w) != nil {
			return
		}
		require.NoError(t, w.Check())
		text, err := json.Marshal(w)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &again))
		second, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(text), string(second))

		z := at(t, "Australia/Sydney")
		next, err := rotation.Next([]rotation.Window{w}, z, h, now, nil)
		require.NoError(t, err)
		for _, o := range next {
			require.True(t, o.Opens.After(now))
			require.False(t, o.Start.Before(o.Opens))
			require.False(t, o.Latest.Before(o.Start))
		}
		_, err = rotation.Due([]rotation.Window{w}, z, h, nil, now, nil)
		require.NoError(t, err)
	})
}
