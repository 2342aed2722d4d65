package rotation_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/rotation"
)

var base = rotation.Window{Name: "nightly", Length: 6 * time.Hour}

// imported returns the windows in short: time, and days in JSON.
func imported(t testing.TB, ws []rotation.Window, err error) string {
	t.Helper()
	require.NoError(t, err)
	var out []string
	for _, w := range ws {
		require.NoError(t, w.Check())
		require.Equal(t, base.Length, w.Length)
		data, err := json.Marshal(w)
		require.NoError(t, err)
		var v struct {
			Name  string
			Opens string
			Days  json.RawMessage
		}
		require.NoError(t, json.Unmarshal(data, &v))
		require.True(t, len(ws) == 1 && v.Name == "nightly" || v.Name == "nightly-"+strings.Replace(v.Opens, ":", "", 1), v.Name)
		out = append(out, strings.TrimSpace(v.Opens+" "+string(v.Days)))
	}
	return strings.Join(out, "\n")
}

func TestImportCron(t *testing.T) {
	for expr, want := range map[string]string{
		"0 20 * * *":          `20:00`,
		"@daily":              `00:00`,
		"30 1 * * 1-5":        `01:30 [{"weekdays":["mon","tue","wed","thu","fri"]}]`,
		"0 20 * * 7":          `20:00 [{"weekdays":["sun"]}]`,
		"0 20 * * 0,7":        `20:00 [{"weekdays":["sun"]}]`,
		"0 20 * * mon,FRI":    `20:00 [{"weekdays":["mon","fri"]}]`,
		"0 8-20/6 * * *":      "08:00\n14:00\n20:00",
		"0,30 8 * * sat":      "08:00 [{\"weekdays\":[\"sat\"]}]\n08:30 [{\"weekdays\":[\"sat\"]}]",
		"0 20 1,15 jan-mar *": `20:00 [{"monthDays":[1,15],"months":[1,2,3]}]`,
		"0 20 */10 * *":       `20:00 [{"monthDays":[1,11,21,31]}]`,
		"0 20 1 * 0":          `20:00 [{"monthDays":[1]},{"weekdays":["sun"]}]`,
		"0 20 1-31 * 0":       `20:00 [{"monthDays":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31]},{"weekdays":["sun"]}]`,
		"0 20 */31 * 0":       `20:00 [{"weekdays":["sun"],"monthDays":[1]}]`,
		"0 20 31 2,3 *":       `20:00 [{"monthDays":[31],"months":[2,3]}]`,
		" 0 20 * 1-12 * ":     `20:00 [{"months":[1,2,3,4,5,6,7,8,9,10,11,12]}]`,
		"@yearly":             `00:00 [{"monthDays":[1],"months":[1]}]`,
	} {
		ws, err := rotation.ImportCron(expr, rotation.Zone{}, base)
		require.Equal(t, want, imported(t, ws, err), expr)
	}
	ws, err := rotation.ImportCron("@hourly", rotation.Zone{}, base)
	require.NoError(t, err)
	require.Len(t, ws, 24)

	for expr, says := range map[string]string{
		"":                       "five fields",
		"0 20 * *":               "five fields",
		"0 0 20 * * *":           "five fields",
		"*/5 * * * *":            "288 times a day",
		"@reboot":                "@hourly",
		"@every 24h":             "@hourly",
		"CRON_TZ=UTC 0 20 * * *": "five fields",
		"60 20 * * *":            "minute",
		"0 24 * * *":             "hour",
		"0 20 0 * *":             "day of month",
		"0 20 L * *":             "day of month",
		"0 20 15W * *":           "day of month",
		"0 20 ? * *":             "day of month",
		"0 20 * 13 *":            "month",
		"0 20 * * 8":             "day of week",
		"0 20 * * fri#2":         "day of week",
		"0 20 * * 5-1":           "day of week",
		"0 22-2 * * *":           "hour",
		"0 20/2 * * *":           "hour",
		"0 */0 * * *":            "hour",
		"0 1,,2 * * *":           "hour",
		"0 -1 * * *":             "hour",
		"0 020 * * *":            "hour",
		"0 20 30 2 *":            "no day at all",
	} {
		_, err := rotation.ImportCron(expr, rotation.Zone{}, base)
		require.ErrorContains(t, err, says, expr)
	}
	_, err = rotation.ImportCron("0 20 * * *", rotation.Zone{}, rotation.Window{Name: "nightly"})
	require.ErrorContains(t, err, "how long")
	_, err = rotation.ImportCron("0 20 * * *", rotation.Zone{Gap: 7}, base)
	require.ErrorContains(t, err, "zone")
}

// Times in the small hours belong to the business day before; what cannot be said so is refused.
func TestImportSmallHours(t *testing.T) {
	z := rotation.Zone{DayStart: clock(4, 0)}
	for expr, want := range map[string]string{
		"30 1 * * *":    `01:30`,
		"30 1,20 * * 1": "01:30 [{\"weekdays\":[\"sun\"]}]\n20:30 [{\"weekdays\":[\"mon\"]}]",
		"0 1 1 * *":     `01:00 [{"monthDays":[-1]}]`,
		"0 1 1,15 3 *":  `01:00 [{"monthDays":[-1],"months":[2]},{"monthDays":[14],"months":[3]}]`,
		"0 1 1 1 *":     `01:00 [{"monthDays":[-1],"months":[12]}]`,
		"0 1 31 1,3 *":  `01:00 [{"monthDays":[30],"months":[1,3]}]`,
		"0 4 31 * *":    `04:00 [{"monthDays":[31]}]`,
	} {
		ws, err := rotation.ImportCron(expr, z, base)
		require.Equal(t, want, imported(t, ws, err), expr)
	}
	for _, expr := range []string{"0 1 31 * *", "0 1 29 1,2 *"} {
		_, err := rotation.ImportCron(expr, z, base)
		require.ErrorContains(t, err, "cannot be expressed", expr)
	}
	_, err := rotation.ImportRRule("FREQ=MONTHLY;BYDAY=1MO", date(2026, 1, 1), clock(1, 0), z, base)
	require.ErrorContains(t, err, "cannot be expressed")
}

func TestImportOnCalendar(t *testing.T) {
	z := at(t, "Australia/Sydney")
	for expr, want := range map[string]string{
		"20:00":                        `20:00`,
		"*-*-* 20:00:00":               `20:00`,
		"daily":                        `00:00`,
		"weekly":                       `00:00 [{"weekdays":["mon"]}]`,
		"quarterly":                    `00:00 [{"monthDays":[1],"months":[1,4,7,10]}]`,
		"Mon..Fri 20:00":               `20:00 [{"weekdays":["mon","tue","wed","thu","fri"]}]`,
		"mon-wed,Sunday 20:00":         `20:00 [{"weekdays":["mon","tue","wed","sun"]}]`,
		"Sat":                          `00:00 [{"weekdays":["sat"]}]`,
		"Mon *-*-01..07 20:00":         `20:00 [{"weekdays":["mon"],"monthDays":[1,2,3,4,5,6,7]}]`,
		"*-*-01 03:30":                 `03:30 [{"monthDays":[1]}]`,
		"10-15":                        `00:00 [{"monthDays":[15],"months":[10]}]`,
		"*-02~03 20:00":                `20:00 [{"monthDays":[-3],"months":[2]}]`,
		"Mon *-05~07/1 20:00":          `20:00 [{"weekdays":["mon"],"monthDays":[-7,-6,-5,-4,-3,-2,-1],"months":[5]}]`,
		"*-*~9/3 20:00":                `20:00 [{"monthDays":[-9,-6,-3]}]`,
		"*-1/6-10 20:00":               `20:00 [{"monthDays":[10],"months":[1,7]}]`,
		"8/6:30":                       "08:30\n14:30\n20:30",
		"*-*-* 20:00 Australia/Sydney": `20:00`,
	} {
		ws, err := rotation.ImportOnCalendar(expr, z, base)
		require.Equal(t, want, imported(t, ws, err), expr)
	}
	for expr, says := range map[string]string{
		"":                 "expected weekdays",
		"UTC":              "weekdays",
		"Australia/Sydney": "weekdays",
		"20:00 UTC":        "in the zone Australia/Sydney",
		"2026-*-* 20:00":   "year",
		"20:00:30":         "seconds",
		"*:0/5":            "288 times",
		"minutely":         "weekdays",
		"Fri..Mon 20:00":   "weekdays",
		"*-*-32":           "day",
		"*-13-01":          "month",
		"*-*~*":            "day",
		"*-*~1..3":         "day",
		"*-02-30":          "no day at all",
		"20:00 Mon":        "expected weekdays",
		"Mon Tue":          "expected weekdays",
		"*-*-* *-*-*":      "expected weekdays",
		"25:00":            "hour",
		"-~-":              "year",
	} {
		_, err := rotation.ImportOnCalendar(expr, z, base)
		require.ErrorContains(t, err, says, expr)
	}
}

func TestImportRRule(t *testing.T) {
	start := date(2026, 10, 7) // a Wednesday
	for rule, want := range map[string]string{
		"FREQ=DAILY":                                 `20:00`,
		"RRULE:FREQ=DAILY;INTERVAL=3":                `20:00 [{"every":3,"anchor":"2026-10-07"}]`,
		"freq=daily;byday=mo,fr;bymonth=1":           `20:00 [{"weekdays":["mon","fri"],"months":[1]}]`,
		"FREQ=DAILY;BYHOUR=8,20;BYMINUTE=15":         "08:15\n20:15",
		"FREQ=WEEKLY":                                `20:00 [{"weekdays":["wed"]}]`,
		"FREQ=WEEKLY;BYDAY=MO,TU":                    `20:00 [{"weekdays":["mon","tue"]}]`,
		"FREQ=WEEKLY;INTERVAL=2":                     `20:00 [{"every":14,"anchor":"2026-10-07"}]`,
		"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU":         `20:00 [{"every":14,"anchor":"2026-10-20"},{"every":14,"anchor":"2026-10-11"}]`,
		"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU": `20:00 [{"every":14,"anchor":"2026-10-20"},{"every":14,"anchor":"2026-10-18"}]`,
		"FREQ=MONTHLY":                               `20:00 [{"monthDays":[7]}]`,
		"FREQ=MONTHLY;BYMONTHDAY=-1,15":              `20:00 [{"monthDays":[-1,15]}]`,
		"FREQ=MONTHLY;BYDAY=-1FR":                    `20:00 [{"weekdays":["fri"],"nth":[-1]}]`,
		"FREQ=MONTHLY;BYDAY=1MO,+1TU,WE,-1FR":        `20:00 [{"weekdays":["fri"],"nth":[-1]},{"weekdays":["wed"]},{"weekdays":["mon","tue"],"nth":[1]}]`,
		"FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13":        `20:00 [{"weekdays":["fri"],"monthDays":[13]}]`,
		"FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=1":       `20:00 [{"monthDays":[1],"months":[1,4,7,10]}]`,
		"FREQ=MONTHLY;INTERVAL=6;BYMONTH=4,5,6":      `20:00 [{"monthDays":[7],"months":[4]}]`,
		"FREQ=YEARLY":                                `20:00 [{"monthDays":[7],"months":[10]}]`,
		"FREQ=YEARLY;BYMONTH=6;BYMONTHDAY=30":        `20:00 [{"monthDays":[30],"months":[6]}]`,
		"FREQ=YEARLY;BYMONTH=6,12":                   `20:00 [{"monthDays":[7],"months":[6,12]}]`,
		"FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU":           `20:00 [{"weekdays":["sun"],"nth":[-1],"months":[3]}]`,
		"FREQ=YEARLY;BYMONTHDAY=1":                   `20:00 [{"monthDays":[1]}]`,
		"FREQ=YEARLY;BYDAY=TU":                       `20:00 [{"weekdays":["tue"]}]`,
	} {
		ws, err := rotation.ImportRRule(rule, start, clock(20, 0), rotation.Zone{}, base)
		require.Equal(t, want, imported(t, ws, err), rule)
	}
	for rule, says := range map[string]string{
		"":                                  "expected parts",
		"INTERVAL=2":                        "FREQ is missing",
		"FREQ=HOURLY":                       "DAILY, WEEKLY",
		"FREQ=DAILY;COUNT=5":                "COUNT cannot",
		"FREQ=DAILY;UNTIL=20270101":         "UNTIL cannot",
		"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1":  "BYSETPOS cannot",
		"FREQ=DAILY;FREQ=DAILY":             "each once",
		"FREQ=DAILY;":                       "expected parts",
		"FREQ=DAILY;INTERVAL=0":             "INTERVAL",
		"FREQ=DAILY;BYDAY=1MO":              "within a month",
		"FREQ=YEARLY;BYDAY=20MO":            "-1FR",
		"FREQ=YEARLY;BYDAY=1MO":             "within a month",
		"FREQ=YEARLY;INTERVAL=2":            "INTERVAL=1",
		"FREQ=MONTHLY;INTERVAL=5":           "every 5 months",
		"FREQ=MONTHLY;INTERVAL=6;BYMONTH=5": "no month in common",
		"FREQ=WEEKLY;BYMONTHDAY=1":          "does not go",
		"FREQ=DAILY;BYMONTHDAY=0":           "BYMONTHDAY",
		"FREQ=DAILY;BYHOUR=24":              "BYHOUR",
		"FREQ=DAILY;BYSECOND=30":            "BYSECOND",
		"FREQ=DAILY;WKST=1MO":               "WKST",
		"FREQ=DAILY;BYDAY=XX":               "weekday",
		"FREQ=DAILY;BYDAY=":                 "weekday",
		"FREQ=DAILY;BYMINUTE=0,5,10,15,20,25,30,35,40,45,50,55;BYHOUR=1,2,3": "36 times",
	} {
		_, err := rotation.ImportRRule(rule, start, clock(20, 0), rotation.Zone{}, base)
		require.ErrorContains(t, err, says, rule)
	}
	_, err := rotation.ImportRRule("FREQ=DAILY", rotation.Day{}, clock(20, 0), rotation.Zone{}, base)
	require.ErrorContains(t, err, "start")
}

// The dates of an imported crontab are those that a plain reading of crontab(5) gives, whichever business
// day they are counted under.
func TestImportCronProperty(t *testing.T) {
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		pick := func(name string, low, high int) (string, map[int]bool) {
			if rapid.IntRange(0, 2).Draw(t, name+" star") == 0 {
				return "*", nil
			}
			list := rapid.SliceOfNDistinct(rapid.IntRange(low, high), 1, 4, rapid.ID).Draw(t, name)
			var text []string
			in := map[int]bool{}
			for _, n := range list {
				text = append(text, strings.TrimLeft(string(rune('0'+n/10)), "0")+string(rune('0'+n%10)))
				in[n] = true
			}
			return strings.Join(text, ","), in
		}
		dom, domIn := pick("day", 1, 31)
		month, monthIn := pick("month", 1, 12)
		dow, dowIn := pick("weekday", 0, 7)
		hour := rapid.IntRange(0, 23).Draw(t, "hour")
		z := rotation.Zone{DayStart: clock(rapid.IntRange(0, 6).Draw(t, "day start"), 0)}
		expr := strings.Join([]string{"0", clock(hour, 0).String()[:2], dom, month, dow}, " ")
		ws, err := rotation.ImportCron(expr, z, base)
		if err != nil {
			refused++
			return
		}
		require.Len(t, ws, 1)

		first, last := date(2027, 1, 1), date(2028, 3, 31)
		var want []rotation.Day
		for d := first; !d.After(last); d = d.AddDays(1) {
			byDay := domIn == nil || domIn[d.Day]
			byWeekday := dowIn == nil || dowIn[int(d.Weekday())] || d.Weekday() == 0 && dowIn[7]
			either := domIn != nil && dowIn != nil
			if (monthIn == nil || monthIn[int(d.Month)]) && (byDay && byWeekday || either && (byDay || byWeekday)) {
				want = append(want, d)
			}
		}
		var got []rotation.Day
		now := time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC)
		for {
			next, err := rotation.Next(ws, z, rotation.Holidays{}, now, nil)
			require.NoError(t, err)
			if len(next) == 0 || rotation.DayOf(next[0].Opens).After(last) {
				break
			}
			now = next[0].Opens
			require.Equal(t, hour, now.Hour())
			got = append(got, rotation.DayOf(now))
		}
		require.True(t, slices.Equal(want, got), "%s: %v, not %v", expr, got, want)
	})
	require.Less(t, refused, 60)
}

func FuzzImport(f *testing.F) {
	for _, s := range []string{"0 20 1 * 0", "*/7 */12 31 feb-dec/2 fri", "Mon..Fri *-*-01..07/2 20:00", "*-*~07/1 8/6:30",
		"FREQ=MONTHLY;INTERVAL=6;BYDAY=-1FR,2MO;BYMONTH=4", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU;BYHOUR=1"} {
		f.Add(s, 4)
	}
	f.Fuzz(func(t *testing.T, s string, dayStart int) {
		z := rotation.Zone{DayStart: clock(int(uint(dayStart)%24), 0)}
		now := time.Date(2026, 10, 4, 2, 30, 0, 0, time.UTC)
		for _, read := range []func() ([]rotation.Window, error){
			func() ([]rotation.Window, error) { return rotation.ImportCron(s, z, base) },
			func() ([]rotation.Window, error) { return rotation.ImportOnCalendar(s, z, base) },
			func() ([]rotation.Window, error) {
				return rotation.ImportRRule(s, date(2026, 10, 7), clock(20, 0), z, base)
			},
		} {
			ws, err := read()
			if err != nil {
				require.Nil(t, ws)
				continue
			}
			require.NotEmpty(t, ws)
			_, err = rotation.Next(ws, z, rotation.Holidays{}, now, nil)
			require.NoError(t, err)
			for _, w := range ws {
				data, err := json.Marshal(w)
				require.NoError(t, err)
				var again rotation.Window
				require.NoError(t, json.Unmarshal(data, &again))
			}
		}
	})
}
