// Package civil holds dates as people and laws name them: without a zone.
package civil

import (
	"cmp"
	"fmt"
	"time"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// Day is a civil date in the proleptic Gregorian calendar, without a zone. The zero Day is no day, and its
// text is empty; the text of any other is like "2026-10-04", for the years 1 to 9999.
type Day struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDay reads a date like "2026-10-04". Years run from 0001 to 9999.
func ParseDay(s string) (Day, error) {
	var d Day
	ok := len(s) == len("2026-10-04") && s[4] == '-' && s[7] == '-'
	if ok {
		var month int
		var okY, okM, okD bool
		d.Year, okY = Digits(s[:4])
		month, okM = Digits(s[5:7])
		d.Day, okD = Digits(s[8:])
		d.Month = time.Month(month)
		ok = okY && okM && okD
	}
	if !ok || !d.Valid() {
		return Day{}, fmt.Errorf("day %q: expected a date of the calendar such as 2026-10-04", strictjson.Clip(s))
	}
	return d, nil
}

// DayOf returns the date that t shows in its own location.
func DayOf(t time.Time) Day {
	y, m, d := t.Date()
	return Day{y, m, d}
}

// String returns the date like "2026-10-04", or nothing for the zero Day.
func (d Day) String() string {
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, int(d.Month), d.Day)
}

// MarshalText implements [encoding.TextMarshaler]. A date that the calendar does not have is an error.
func (d Day) MarshalText() ([]byte, error) {
	if !d.IsZero() && !d.Valid() {
		return nil, fmt.Errorf("day %s: not a date of the calendar in the years 1 to 9999", d)
	}
	return []byte(d.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. Empty text gives the zero Day.
func (d *Day) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Day{}
		return nil
	}
	v, err := ParseDay(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// IsZero reports whether d is no day.
func (d Day) IsZero() bool { return d == Day{} }

// AddDays returns the date n days later; n may be negative.
func (d Day) AddDays(n int) Day {
	return DayOf(d.UTC().AddDate(0, 0, n))
}

// AddMonths returns the date n months later. Where that month is too short it is the month's last day:
// 31 January and one month is 28 February, or 29.
func (d Day) AddMonths(n int) Day {
	first := time.Date(d.Year, d.Month+time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	v := DayOf(first)
	v.Day = min(d.Day, v.MonthEnd())
	return v
}

// AddYears returns the date n years later. 29 February becomes 1 March in a year that has none: the later
// date, so that a period counted in years never ends early.
func (d Day) AddYears(n int) Day {
	return DayOf(d.UTC().AddDate(n, 0, 0))
}

// Sub returns how many days d is after e.
func (d Day) Sub(e Day) int {
	return int((d.UTC().Unix() - e.UTC().Unix()) / (24 * 60 * 60))
}

// Compare returns -1, 0 or 1 when d is before, at or after e.
func (d Day) Compare(e Day) int {
	return cmp.Or(cmp.Compare(d.Year, e.Year), cmp.Compare(d.Month, e.Month), cmp.Compare(d.Day, e.Day))
}

// Before reports whether d is an earlier date than e.
func (d Day) Before(e Day) bool { return d.Compare(e) < 0 }

// After reports whether d is a later date than e.
func (d Day) After(e Day) bool { return d.Compare(e) > 0 }

// Weekday returns the day of the week.
func (d Day) Weekday() time.Weekday { return d.UTC().Weekday() }

// ISOWeek returns the ISO 8601 week, which begins on Monday, and the year that it belongs to, which differs
// from the date's around New Year.
func (d Day) ISOWeek() (year, week int) { return d.UTC().ISOWeek() }

// UTC is midnight in UTC. There every civil time exists once, so arithmetic on it is exact.
func (d Day) UTC() time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)
}

// Valid reports whether d is a date of the calendar in the years 1 to 9999.
func (d Day) Valid() bool {
	return d.Year >= 1 && d.Year <= 9999 && DayOf(d.UTC()) == d
}

// MonthEnd is the number of days in d's month.
func (d Day) MonthEnd() int {
	return time.Date(d.Year, d.Month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// Digits reads a decimal number without sign or spaces, of at most nine digits.
func Digits(s string) (int, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
