package rotation_test

import (
	"archive/zip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// long runs what takes minutes.
func long() bool { return os.Getenv("CAREKEEP_LONG") == "1" }

func date(y int, m time.Month, d int) rotation.Day { return rotation.Day{Year: y, Month: m, Day: d} }

func clock(h, m int) rotation.Clock { return rotation.Clock{Hour: h, Minute: m} }

// at is a zone with the default policies.
func at(t testing.TB, name string) rotation.Zone {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return rotation.Zone{Location: loc}
}

// change is one transition of a location's clocks.
type change struct {
	loc           *time.Location
	at            int64 // the first second of the new offset
	before, after int64 // offsets in seconds
}

// world returns every location of the database that comes with this Go release, by name.
var world = sync.OnceValues(func() (map[string]*time.Location, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	z, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = z.Close() }()
	locs := map[string]*time.Location{}
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		loc, err := time.LoadLocationFromTZData(f.Name, data)
		if err != nil {
			return nil, err
		}
		locs[f.Name] = loc
	}
	return locs, nil
})

// changes returns every transition from 2020 to 2040 of every location. Locations that keep the same time
// throughout, such as aliases, are looked at once. It finds them by sampling, not as the package does.
var changes = sync.OnceValues(func() ([]change, error) {
	locs, err := world()
	if err != nil {
		return nil, err
	}
	var out []change
	seen := map[string]bool{}
	first := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	last := time.Date(2041, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	for _, name := range slices.Sorted(maps.Keys(locs)) {
		loc := locs[name]
		var own []change
		var key strings.Builder
		const step = 12 * 3600
		after := offset(loc, first)
		for sec := first; sec < last; sec += step {
			before := after
			if after = offset(loc, sec+step); before == after {
				continue
			}
			low, high := sec, sec+step
			for high-low > 1 {
				if mid := (low + high) / 2; offset(loc, mid) == before {
					low = mid
				} else {
					high = mid
				}
			}
			own = append(own, change{loc, high, before, after})
			_ = json.NewEncoder(&key).Encode([]int64{high, before, after})
		}
		if !seen[key.String()] {
			seen[key.String()] = true
			out = append(out, own...)
		}
	}
	return out, nil
})

func offset(loc *time.Location, sec int64) int64 {
	_, off := time.Unix(sec, 0).In(loc).Zone()
	return int64(off)
}

func allChanges(t testing.TB) []change {
	t.Helper()
	cs, err := changes()
	require.NoError(t, err)
	require.Greater(t, len(cs), 1400)
	return cs
}

// civil takes a reading in seconds, as UTC would count them, apart.
func civil(wall int64) (rotation.Day, rotation.Clock) {
	t := time.Unix(wall, 0).UTC()
	return rotation.DayOf(t), clock(t.Hour(), t.Minute())
}

// Around every transition of every zone of the world, for every minute on the clock: the result shows the
// time that was asked for, or is at the edge of the gap; it is the first or second of two as asked; and it
// never goes backwards. The truth comes from turning every instant around into a reading.
func TestInstantEveryTransition(t *testing.T) {
	cs := allChanges(t)
	var gaps, folds, halves int
	for _, c := range cs {
		if abs(c.after-c.before) == 1800 {
			halves++
		}
		const around = 3 * 3600
		readings := map[int64][]int64{}
		for sec := c.at - 2*around; sec < c.at+2*around; sec += 60 {
			readings[sec+offset(c.loc, sec)] = append(readings[sec+offset(c.loc, sec)], sec)
		}
		step := int64(300)
		if long() {
			step = 60
		}
		for _, z := range []rotation.Zone{
			{Location: c.loc},
			{Location: c.loc, Gap: rotation.GapBefore, Fold: rotation.FoldSecond},
		} {
			previous := int64(0)
			middle := c.at + (c.before+c.after)/2
			for wall := middle - around; wall < middle+around; wall += step {
				d, cl := civil(wall)
				got, adjusted := z.Instant(d, cl)
				sec := got.Unix()
				switch truth := readings[wall]; {
				case len(truth) == 1:
					require.Equal(t, truth[0], sec, "%s %s %s", c.loc, d, cl)
					require.Zero(t, adjusted)
				case len(truth) == 2:
					folds++
					require.Equal(t, truth[z.Fold], sec, "%s %s %s", c.loc, d, cl)
					require.Equal(t, rotation.Adjustment{Fold: int(z.Fold) + 1}, adjusted)
				default:
					gaps++
					require.Empty(t, truth)
					want := c.at
					if z.Gap == rotation.GapBefore {
						want -= 60
					}
					require.Equal(t, want, sec, "%s %s %s", c.loc, d, cl)
					moved := time.Duration(sec+offset(c.loc, sec)-wall) * time.Second
					require.Equal(t, rotation.Adjustment{Moved: moved}, adjusted)
					require.NotZero(t, moved)
				}
				require.GreaterOrEqual(t, sec, previous, "%s %s %s", c.loc, d, cl)
				previous = sec
			}
		}
	}
	require.NotZero(t, gaps)
	require.NotZero(t, folds)
	require.NotZero(t, halves, "Lord Howe")
	t.Logf("%d transitions, %d readings in a gap, %d in a fold", len(cs), gaps, folds)
}

// On every day of 2020 to 2040, in zones of all kinds, noon and midnight resolve, days follow each other,
// and the business day is the one that has begun.
func TestBusinessDayEveryDay(t *testing.T) {
	for _, name := range []string{"UTC", "Australia/Sydney", "Australia/Lord_Howe", "Europe/London", "America/New_York",
		"Africa/Casablanca", "Asia/Gaza", "Antarctica/Troll", "America/Scoresbysund", "Pacific/Chatham", "America/Santiago"} {
		z := at(t, name)
		z.DayStart = clock(4, 0)
		for d := date(2020, 1, 1); d.Year < 2041; d = d.AddDays(1) {
			begin, _ := z.Instant(d, z.DayStart)
			end, _ := z.Instant(d.AddDays(1), z.DayStart)
			require.Equal(t, d, z.BusinessDay(begin), name)
			require.Equal(t, d, z.BusinessDay(end.Add(-1)), name)
			require.Equal(t, d.AddDays(-1), z.BusinessDay(begin.Add(-1)), name)
			length := end.Sub(begin)
			require.True(t, length >= 22*time.Hour && length <= 26*time.Hour, "%s %s lasts %s", name, d, length)
		}
	}
}

// The small hours belong to yesterday's surgery.
func TestBusinessDay(t *testing.T) {
	z := at(t, "Australia/Sydney")
	z.DayStart = clock(4, 0)
	night := time.Date(2026, 11, 21, 1, 30, 0, 0, z.Location)
	require.Equal(t, date(2026, 11, 20), z.BusinessDay(night))
	require.Equal(t, date(2026, 11, 20), z.BusinessDay(night.UTC()))
	require.Equal(t, date(2026, 11, 21), z.BusinessDay(night.Add(150*time.Minute)))
	require.Equal(t, date(2026, 11, 20), rotation.Zone{}.BusinessDay(night))
}

// A whole date can be missing: Samoa went from 29 to 31 December 2011. And a date can come with a gap at
// midnight, or come twice.
func TestInstantOddDates(t *testing.T) {
	for _, c := range []struct {
		zone, civil string
		want        string
		adjusted    string
	}{
		{"Pacific/Apia", "2011-12-30 20:00", "2011-12-31T00:00:00+14:00", "moved 4h0m0s"},
		{"Pacific/Apia", "2011-12-31 00:00", "2011-12-31T00:00:00+14:00", ""},
		{"Pacific/Kwajalein", "1993-08-21 12:00", "1993-08-22T00:00:00+12:00", "moved 12h0m0s"},
		{"America/Santiago", "2026-09-06 00:30", "2026-09-06T01:00:00-03:00", "moved 30m0s"},
		{"Africa/Casablanca", "2026-02-15 02:30", "2026-02-15T02:30:00+01:00", "first of two"},
		{"Antarctica/Troll", "2026-03-29 02:00", "2026-03-29T03:00:00+02:00", "moved 1h0m0s"},
		{"Antarctica/Troll", "2026-10-25 01:30", "2026-10-25T01:30:00+02:00", "first of two"},
		{"Europe/Dublin", "2026-03-29 01:15", "2026-03-29T02:00:00+01:00", "moved 45m0s"},
	} {
		d, err := rotation.ParseDay(c.civil[:10])
		require.NoError(t, err)
		cl, err := rotation.ParseClock(c.civil[11:])
		require.NoError(t, err)
		got, adjusted := at(t, c.zone).Instant(d, cl)
		require.Equal(t, c.adjusted, adjusted.String(), "%s %s", c.zone, c.civil)
		require.Equal(t, c.want, got.Format(time.RFC3339), "%s %s", c.zone, c.civil)
	}
}

// Go's Time.ZoneBounds gives, on 31 December of a leap year, an end that is over where it reckons by rule.
func TestInstantEndOfLeapYear(t *testing.T) {
	for _, name := range []string{"Australia/Sydney", "America/New_York", "Pacific/Auckland"} {
		z := at(t, name)
		for _, year := range []int{2038, 2040, 2044, 2096} {
			for h := range 96 {
				want := time.Date(year, 12, 29, h, 0, 0, 0, z.Location)
				got, adjusted := z.Instant(rotation.DayOf(want), clock(want.Hour(), 0))
				require.True(t, want.Equal(got), "%s: %s, not %s", name, got, want)
				require.Zero(t, adjusted)
			}
		}
	}
}

func TestZoneZero(t *testing.T) {
	var z rotation.Zone
	got, adjusted := z.Instant(date(2026, 10, 4), clock(2, 30))
	require.Equal(t, time.Date(2026, 10, 4, 2, 30, 0, 0, time.UTC), got.UTC())
	require.Zero(t, adjusted)
	data, err := json.Marshal(z)
	require.NoError(t, err)
	require.JSONEq(t, `{"location":"UTC","dayStart":"00:00","gap":"after","fold":"first"}`, string(data))
}

func TestZoneJSON(t *testing.T) {
	const text = `{"location":"Australia/Sydney","dayStart":"04:00","gap":"before","fold":"second"}`
	var z rotation.Zone
	require.NoError(t, json.Unmarshal([]byte(text), &z))
	require.Equal(t, "Australia/Sydney", z.Location.String())
	require.Equal(t, rotation.Zone{Location: z.Location, DayStart: clock(4, 0), Gap: rotation.GapBefore,
		Fold: rotation.FoldSecond}, z)
	data, err := json.Marshal(z)
	require.NoError(t, err)
	require.Equal(t, text, string(data))
	require.NoError(t, json.Unmarshal([]byte(`{"location":"Europe/London"}`), &z))
	require.Equal(t, rotation.Zone{Location: z.Location}, z)

	for bad, says := range map[string]string{
		`{}`:                                             "Europe/London",
		`{"location":"Local"}`:                           "Europe/London",
		`{"location":"Mars/Polar"}`:                      "not in the time zone database",
		`{"location":"UTC","dayStart":"24:00"}`:          "00:00 to 23:59",
		`{"location":"UTC","gap":"skip"}`:                "after",
		`{"location":"UTC","fold":"both"}`:               "second",
		`{"location":"UTC","zone":1}`:                    "unknown field",
		`{"location":"UTC","Location":"Europe/London"}`:  "twice",
		`{"location":"UTC","gap":"after","gap":"after"}`: "twice",
	} {
		require.ErrorContains(t, json.Unmarshal([]byte(bad), &z), says, bad)
	}
	for _, bad := range []rotation.Zone{{Location: time.Local}, {Gap: 2}, {Fold: 2}, {DayStart: clock(24, 0)}} {
		if bad.Location != nil && bad.Location.String() != "Local" {
			continue // TZ names it
		}
		_, err := json.Marshal(bad)
		require.Error(t, err)
	}
}

func TestAdjustmentText(t *testing.T) {
	for _, a := range []rotation.Adjustment{{}, {Fold: 1}, {Fold: 2}, {Moved: 30 * time.Minute}, {Moved: -time.Minute}} {
		text, err := a.MarshalText()
		require.NoError(t, err)
		var b rotation.Adjustment
		require.NoError(t, b.UnmarshalText(text))
		require.Equal(t, a, b)
	}
	for _, bad := range []string{"moved", "moved 1h", "moved 0s", "third of two", "first"} {
		var a rotation.Adjustment
		require.ErrorContains(t, a.UnmarshalText([]byte(bad)), "expected", bad)
	}
}

// Aliases have one fingerprint, zones that differ have two, and every zone of the world has one.
func TestZoneRules(t *testing.T) {
	require.Equal(t, at(t, "Australia/Sydney").Rules(), at(t, "Australia/NSW").Rules())
	require.NotEqual(t, at(t, "Australia/Sydney").Rules(), at(t, "Australia/Lord_Howe").Rules())
	require.NotEqual(t, at(t, "Australia/Sydney").Rules(), at(t, "Australia/Brisbane").Rules())
	require.Equal(t, rotation.Zone{}.Rules(), at(t, "Etc/UTC").Rules())
	locs, err := world()
	require.NoError(t, err)
	require.Greater(t, len(locs), 400)
	for _, loc := range locs {
		require.Len(t, rotation.Zone{Location: loc}.Rules(), 16)
	}
}

func FuzzInstant(f *testing.F) {
	f.Add("Australia/Lord_Howe", 2026, 10, 4, 2, 15, uint8(1), uint8(1))
	f.Add("Pacific/Apia", 2011, 12, 30, 0, 0, uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, name string, y, m, d, h, min int, gap, fold uint8) {
		loc, err := time.LoadLocation(name)
		day := rotation.DayOf(time.Date(y%9000, time.Month(m%13), d%32, 0, 0, 0, 0, time.UTC))
		if err != nil || day.Year < 1 {
			return
		}
		c := clock(int(uint(h)%24), int(uint(min)%60))
		z := rotation.Zone{Location: loc, Gap: rotation.Gap(gap % 2), Fold: rotation.Fold(fold % 2)}
		got, adjusted := z.Instant(day, c)
		shows := got.Format("2006-01-02 15:04")
		asked := day.String() + " " + c.String()
		require.Equal(t, adjusted.Moved == 0, shows == asked, "%s: %s for %s", name, shows, asked)
		_ = z.BusinessDay(got)
	})
}

func BenchmarkInstant(b *testing.B) {
	z := at(b, "Australia/Sydney")
	for b.Loop() {
		z.Instant(date(2026, 10, 4), clock(2, 30))
	}
}

func abs(n int64) int64 { return max(n, -n) }
