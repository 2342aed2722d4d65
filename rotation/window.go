package rotation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/internal/strictjson"
)

// Window is a time in which a backup may run, and on which business days. It is no instant: a machine that
// was busy or switched off at 20:00 still makes its run at 21:00.
//
// A Window is made by hand, from its JSON form or from another scheduler's notation ([ImportCron],
// [ImportOnCalendar], [ImportRRule]). The JSON form is canonical, and unknown fields are refused:
//
//	{"name":"nightly","opens":"20:00","length":"10h","startWithin":"6h",
//	 "days":[{"weekdays":["mon","tue","wed","thu","fri"]}],
//	 "blackouts":[{"from":"08:00","to":"18:00"}],"holidays":"run","jitter":"30m"}
//
// Only name, opens and length are required.
type Window struct {
	// Name names the window's occurrences, so it must not change while they matter: lower-case letters,
	// digits and inner hyphens, at most 40.
	Name string
	// Opens is when the window opens. A time before the zone's DayStart is in the small hours that end the
	// business day, on the next date.
	Opens Clock
	// Length is how long the window stays open, in elapsed time: whole minutes, at most seven days.
	Length time.Duration
	// StartWithin is how long after opening a run may still start; zero is all of Length.
	StartWithin time.Duration
	// Days are the business days on which the window opens: those that any of them names. None is every day.
	Days []Recurrence
	// Blackouts are times in which nothing runs, such as surgery hours, even if the window is open.
	Blackouts []Blackout
	// Holidays says what happens on a holiday.
	Holidays HolidayPolicy
	// Jitter spreads the starts of many sites: each waits, from the opening, a time below Jitter that is
	// fixed by the site, the window and the day. It must be shorter than StartWithin.
	Jitter time.Duration
}

// Recurrence names business days: those that meet all of its fields, where an empty field is met by every
// day. The zero Recurrence is every day.
type Recurrence struct {
	// Weekdays are days of the week.
	Weekdays []time.Weekday
	// Nth keeps, of Weekdays, the first (1) to fifth (5) in the month, or the last (-1) to the fifth from
	// the end (-5).
	Nth []int
	// MonthDays are days of the month, 1 to 31, or counted from the end: -1 is the last day. A month that
	// lacks a day is passed over; -1 and not 31 is the month's end.
	MonthDays []int
	// Months are months of the year.
	Months []time.Month
	// Every is for one day in so many, counted from Anchor, which is the first.
	Every  int
	Anchor Day
	// Last is for the last business day of a week or month, after [Holidays]; with it, only Months may be
	// given. In a week of holidays it is the last workday.
	Last LastOf
}

// LastOf is what a recurrence names the last business day of.
type LastOf uint8

// The zero LastOf is none. Weeks begin on Monday.
const (
	LastOfWeek LastOf = iota + 1
	LastOfMonth
)

// Blackout is a time of day, on a date's own clock, in which nothing runs. Where the clocks are changed
// inside it, it covers the longer reading.
type Blackout struct {
	// From and To bound it. To at or before From is on the next date.
	From, To Clock
	// Weekdays are the dates on which it begins; none is every date.
	Weekdays []time.Weekday
}

// HolidayPolicy says what happens to a window's run whose day is a holiday. No policy loses it.
type HolidayPolicy uint8

const (
	// HolidayRun runs as on any other day. It is the default.
	HolidayRun HolidayPolicy = iota
	// HolidayEarlier runs on the last business day before. The occurrence keeps its own day as its name.
	HolidayEarlier
	// HolidayLater runs on the next business day.
	HolidayLater
	// HolidaySunday treats the day as a Sunday: windows that are for Sundays open and others do not. Where
	// this would leave the day without any window, the window opens nevertheless.
	HolidaySunday
)

const maxLength = 7 * 24 * time.Hour

// Check returns an error that says what is wrong with the window, or nil.
func (w Window) Check() error {
	if err := w.check(); err != nil {
		return fmt.Errorf("window %q: %w", strictjson.Clip(w.Name), err)
	}
	return nil
}

func (w Window) check() error {
	if !windowName(w.Name) {
		return errors.New("expected a name of 1 to 40 lower-case letters, digits and inner hyphens")
	}
	if !w.Opens.valid() {
		return fmt.Errorf("opens at %s, expected 00:00 to 23:59", w.Opens)
	}
	for _, d := range []time.Duration{w.Length, w.StartWithin, w.Jitter} {
		if d < 0 || d > maxLength || d%time.Minute != 0 {
			return fmt.Errorf("%s: expected whole minutes, up to 168h", d)
		}
	}
	switch {
	case w.Length == 0:
		return errors.New("length is missing: say how long the window stays open, such as 10h")
	case w.StartWithin > w.Length:
		return fmt.Errorf("starts within %s, which is longer than its length %s", w.StartWithin, w.Length)
	case w.Jitter >= w.startWithin():
		return fmt.Errorf("jitter %s: expected less than the %s in which a run may start", w.Jitter, w.startWithin())
	case w.Holidays > HolidaySunday:
		return fmt.Errorf("holiday policy %d is unknown", w.Holidays)
	case len(w.Days) > 100 || len(w.Blackouts) > 100:
		return errors.New("more than 100 recurrences or blackouts")
	}
	for _, r := range w.Days {
		if err := r.check(); err != nil {
			return err
		}
	}
	for _, b := range w.Blackouts {
		if !b.From.valid() || !b.To.valid() {
			return fmt.Errorf("blackout from %s to %s: expected 00:00 to 23:59", b.From, b.To)
		}
		if err := checkWeekdays(b.Weekdays); err != nil {
			return fmt.Errorf("blackout: %w", err)
		}
	}
	return nil
}

func windowName(s string) bool {
	for i := range len(s) {
		c := s[i]
		inner := i > 0 && i < len(s)-1
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && inner) {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func (r Recurrence) check() error {
	if err := checkWeekdays(r.Weekdays); err != nil {
		return err
	}
	if err := distinct("nth", r.Nth, -5, 5); err != nil {
		return err
	}
	if err := distinct("month day", r.MonthDays, -31, 31); err != nil {
		return err
	}
	if err := distinct("month", r.Months, 1, 12); err != nil {
		return err
	}
	switch {
	case len(r.Nth) > 0 && len(r.Weekdays) == 0:
		return errors.New("nth needs weekdays: the second what of the month?")
	case r.Every < 0 || r.Every > 10_000:
		return fmt.Errorf("every %d days: expected 1 to 10000", r.Every)
	case (r.Every == 0) != r.Anchor.IsZero() || !r.Anchor.IsZero() && !r.Anchor.Valid():
		return errors.New("every and anchor go together: every so many days from which day?")
	case r.Last > LastOfMonth:
		return fmt.Errorf("last %d: expected LastOfWeek or LastOfMonth", r.Last)
	case r.Last != 0 && (len(r.Weekdays) > 0 || len(r.MonthDays) > 0 || r.Every != 0):
		return errors.New("last goes with months only: the workdays are those of the holidays table")
	case !r.possible():
		return errors.New("a recurrence that names no day at all, such as 30 February")
	}
	return nil
}

// possible reports whether any day meets the recurrence, by looking at 40 years: no combination of month
// day and weekday is rarer.
func (r Recurrence) possible() bool {
	d := Day{Year: 2000, Month: 1, Day: 1}
	if r.Anchor.After(d) {
		d = r.Anchor
	}
	for range 40*366 + r.Every {
		if r.on(d, d.Weekday(), Holidays{}) {
			return true
		}
		d = d.AddDays(1)
	}
	return false
}

// on reports whether the recurrence names d, were d a wd.
func (r Recurrence) on(d Day, wd time.Weekday, h Holidays) bool {
	end := d.MonthEnd()
	has := func(list []int, fromStart, fromEnd int) bool {
		return len(list) == 0 || slices.Contains(list, fromStart) || slices.Contains(list, -fromEnd)
	}
	if len(r.Months) > 0 && !slices.Contains(r.Months, d.Month) ||
		len(r.Weekdays) > 0 && !slices.Contains(r.Weekdays, wd) ||
		!has(r.Nth, (d.Day-1)/7+1, (end-d.Day)/7+1) ||
		!has(r.MonthDays, d.Day, end-d.Day+1) {
		return false
	}
	if r.Every > 0 && (d.Before(r.Anchor) || d.Sub(r.Anchor)%r.Every != 0) {
		return false
	}
	switch r.Last {
	case LastOfWeek:
		monday := d.AddDays(-(int(d.Weekday()) + 6) % 7)
		return h.lastBusiness(monday, monday.AddDays(6)) == d
	case LastOfMonth:
		return h.lastBusiness(Day{Year: d.Year, Month: d.Month, Day: 1}, Day{Year: d.Year, Month: d.Month, Day: end}) == d
	}
	return true
}

// on reports whether the window opens on business day d, were d a wd.
func (w *Window) on(d Day, wd time.Weekday, h Holidays) bool {
	for _, r := range w.Days {
		if r.on(d, wd, h) {
			return true
		}
	}
	return len(w.Days) == 0
}

func (w *Window) startWithin() time.Duration { return cmp.Or(w.StartWithin, w.Length) }

// MarshalJSON implements [json.Marshaler]. The form is canonical: windows that mean the same by the same
// fields give equal bytes, in whatever order their lists are.
func (w Window) MarshalJSON() ([]byte, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	v := windowJSON{w.Name, w.Opens, minutes(w.Length), minutes(w.StartWithin), nil, nil, w.Holidays, minutes(w.Jitter)}
	for _, r := range w.Days {
		v.Days = append(v.Days, recurrenceJSON{weekdaysOut(r.Weekdays), ascending(r.Nth), ascending(r.MonthDays),
			ascending(r.Months), r.Every, r.Anchor, r.Last})
	}
	for _, b := range w.Blackouts {
		v.Blackouts = append(v.Blackouts, blackoutJSON{b.From, b.To, weekdaysOut(b.Weekdays)})
	}
	return json.Marshal(v)
}

// UnmarshalJSON implements [json.Unmarshaler]. What it accepts passes [Window.Check].
func (w *Window) UnmarshalJSON(data []byte) error {
	var v windowJSON
	if err := strict(data, &v); err != nil {
		return fmt.Errorf("window: %w", err)
	}
	r := Window{Name: v.Name, Opens: v.Opens, Length: time.Duration(v.Length), StartWithin: time.Duration(v.StartWithin),
		Holidays: v.Holidays, Jitter: time.Duration(v.Jitter)}
	for _, d := range v.Days {
		r.Days = append(r.Days, Recurrence{weekdaysIn(d.Weekdays), d.Nth, d.MonthDays, d.Months, d.Every, d.Anchor, d.Last})
	}
	for _, b := range v.Blackouts {
		r.Blackouts = append(r.Blackouts, Blackout{b.From, b.To, weekdaysIn(b.Weekdays)})
	}
	if err := r.Check(); err != nil {
		return err
	}
	*w = r
	return nil
}

type windowJSON struct {
	Name        string           `json:"name"`
	Opens       Clock            `json:"opens"`
	Length      minutes          `json:"length"`
	StartWithin minutes          `json:"startWithin,omitempty"`
	Days        []recurrenceJSON `json:"days,omitempty"`
	Blackouts   []blackoutJSON   `json:"blackouts,omitempty"`
	Holidays    HolidayPolicy    `json:"holidays"`
	Jitter      minutes          `json:"jitter,omitempty"`
}

type recurrenceJSON struct {
	Weekdays  []weekday    `json:"weekdays,omitempty"`
	Nth       []int        `json:"nth,omitempty"`
	MonthDays []int        `json:"monthDays,omitempty"`
	Months    []time.Month `json:"months,omitempty"`
	Every     int          `json:"every,omitempty"`
	Anchor    Day          `json:"anchor,omitzero"`
	Last      LastOf       `json:"last,omitempty"`
}

type blackoutJSON struct {
	From     Clock     `json:"from"`
	To       Clock     `json:"to"`
	Weekdays []weekday `json:"weekdays,omitempty"`
}

var (
	lastNames    = []string{LastOfWeek: "week", LastOfMonth: "month"}
	holidayNames = []string{HolidayRun: "run", HolidayEarlier: "earlier", HolidayLater: "later", HolidaySunday: "sunday"}
	weekdayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// String returns "week", "month" or nothing.
func (l LastOf) String() string { return nameOf(lastNames, l) }

// MarshalText implements [encoding.TextMarshaler].
func (l LastOf) MarshalText() ([]byte, error) { return marshalName("last", lastNames, l) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *LastOf) UnmarshalText(text []byte) error { return unmarshalName("last", lastNames, text, l) }

// String returns "run", "earlier", "later" or "sunday".
func (p HolidayPolicy) String() string { return nameOf(holidayNames, p) }

// MarshalText implements [encoding.TextMarshaler].
func (p HolidayPolicy) MarshalText() ([]byte, error) {
	return marshalName("holiday policy", holidayNames, p)
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *HolidayPolicy) UnmarshalText(text []byte) error {
	return unmarshalName("holiday policy", holidayNames, text, p)
}

// weekday is a day of the week as JSON shows it.
type weekday uint8

func (d weekday) MarshalText() ([]byte, error) { return marshalName("weekday", weekdayNames, d) }

func (d *weekday) UnmarshalText(text []byte) error {
	return unmarshalName("weekday", weekdayNames, text, d)
}

// weekdaysOut lists days for JSON, Monday first.
func weekdaysOut(days []time.Weekday) (out []weekday) {
	for i := range 7 {
		if d := time.Weekday((i + 1) % 7); slices.Contains(days, d) {
			out = append(out, weekday(d))
		}
	}
	return out
}

func weekdaysIn(days []weekday) (out []time.Weekday) {
	for _, d := range days {
		out = append(out, time.Weekday(d))
	}
	return out
}

func checkWeekdays(days []time.Weekday) error {
	for i, d := range days {
		if d < time.Sunday || d > time.Saturday || slices.Contains(days[:i], d) {
			return fmt.Errorf("weekdays %d: expected each from Sunday to Saturday, and once", days)
		}
	}
	return nil
}

// distinct checks that every number lies in the range, is not 0 and stands once.
func distinct[T ~int](what string, list []T, low, high T) error {
	for i, n := range list {
		if n < low || n > high || n == 0 || slices.Contains(list[:i], n) {
			return fmt.Errorf("%s %d: expected %d to %d, not 0, and each once", what, int(n), int(low), int(high))
		}
	}
	return nil
}

func ascending[T ~int](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// minutes is a length in elapsed time as JSON shows it: "10h", "6h30m", "45m".
type minutes time.Duration

func (m minutes) MarshalText() ([]byte, error) {
	h, rest := time.Duration(m)/time.Hour, time.Duration(m)%time.Hour/time.Minute
	switch {
	case h == 0:
		return fmt.Appendf(nil, "%dm", rest), nil
	case rest == 0:
		return fmt.Appendf(nil, "%dh", h), nil
	}
	return fmt.Appendf(nil, "%dh%dm", h, rest), nil
}

func (m *minutes) UnmarshalText(text []byte) error {
	s := string(text)
	hours, rest, ok := strings.Cut(s, "h")
	if !ok {
		hours, rest = "0", s
	}
	h, okH := civil.Digits(hours)
	n, okM := 0, true
	if rest != "" || !ok {
		var cut bool
		rest, cut = strings.CutSuffix(rest, "m")
		n, okM = civil.Digits(rest)
		okM = okM && cut
	}
	if !okH || !okM || h > 10_000 || n > 10_000 {
		return fmt.Errorf("length %q: expected hours and minutes such as 10h, 6h30m or 45m", strictjson.Clip(s))
	}
	*m = minutes(time.Duration(h)*time.Hour + time.Duration(n)*time.Minute)
	return nil
}
