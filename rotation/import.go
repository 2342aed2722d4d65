package rotation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/internal/strictjson"
)

// maxTimes is how many times of day an imported schedule may have. More often than that is no window.
const maxTimes = 24

// ImportCron reads a crontab schedule of five fields, such as "0 20 * * 1-5", or one of @hourly, @daily,
// @midnight, @weekly, @monthly, @yearly and @annually. Each time of day becomes a window: base with Name,
// Opens and Days set, where the name is base's, followed by the time if there are several ("nightly-0800").
// base says what the notation cannot: the length at least.
//
// As in crontab(5), where both day of month and day of week are restricted a day needs to meet one of them;
// "0 20 1 * 0" is the 1st and every Sunday. A field that begins with * does not count as restricted, and
// then a day must meet both. The zone says which business day a time belongs to. What it cannot express it
// refuses: more than 24 times a day, @reboot, and the L, W, # and ? of other programs.
func ImportCron(expr string, z Zone, base Window) ([]Window, error) {
	w, err := importCron(expr, z, base)
	if err != nil {
		return nil, fmt.Errorf("cron %q: %w", strictjson.Clip(expr), err)
	}
	return w, nil
}

var cronMacros = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

func importCron(expr string, z Zone, base Window) ([]Window, error) {
	text := strings.TrimSpace(expr)
	if strings.HasPrefix(text, "@") {
		macro, ok := cronMacros[strings.ToLower(text)]
		if !ok {
			return nil, errors.New("expected @hourly, @daily, @weekly, @monthly, @yearly or five fields")
		}
		text = macro
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return nil, fmt.Errorf("expected five fields, minute hour day month weekday, not %d", len(fields))
	}
	var values [5][]int
	for i, f := range []numberField{
		{what: "minute", low: 0, high: 59},
		{what: "hour", low: 0, high: 23},
		{what: "day of month", low: 1, high: 31},
		{what: "month", low: 1, high: 12, names: monthNames},
		{what: "day of week", low: 0, high: 7, names: weekdayNames},
	} {
		f.between = "-"
		v, err := f.parse(fields[i])
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	starred := func(i int) bool { return strings.HasPrefix(fields[i], "*") }
	r := Recurrence{Months: monthsOf(values[3])}
	byDay, byWeekday := r, r
	byDay.MonthDays, byWeekday.Weekdays = values[2], weekdaysOf(values[4])
	var days []Recurrence
	switch {
	case !starred(2) && !starred(4):
		days = []Recurrence{byDay, byWeekday}
	default:
		r.MonthDays, r.Weekdays = byDay.MonthDays, byWeekday.Weekdays
		days = []Recurrence{r}
	}
	times, err := timesOf(all(values[1], 0, 23), all(values[0], 0, 59))
	if err != nil {
		return nil, err
	}
	return windowsAt(days, times, z, base)
}

// ImportOnCalendar reads a calendar event of systemd.time(7), such as "Mon..Fri 20:00" or "*-*-01 03:30", or
// one of hourly, daily, weekly, monthly, quarterly, semiannually and yearly, and makes windows as
// [ImportCron] does. As in systemd, a day must meet both the weekdays and the date.
//
// It refuses years other than *, seconds other than 00, a zone other than z's, and more than 24 times a day.
func ImportOnCalendar(expr string, z Zone, base Window) ([]Window, error) {
	w, err := importOnCalendar(expr, z, base)
	if err != nil {
		return nil, fmt.Errorf("calendar event %q: %w", strictjson.Clip(expr), err)
	}
	return w, nil
}

var calendarMacros = map[string]string{
	"hourly": "*-*-* *:00", "daily": "*-*-* 00:00", "weekly": "Mon *-*-* 00:00", "monthly": "*-*-01 00:00",
	"quarterly": "*-01,04,07,10-01 00:00", "semiannually": "*-01,07-01 00:00", "yearly": "*-01-01 00:00",
	"annually": "*-01-01 00:00",
}

func importOnCalendar(expr string, z Zone, base Window) ([]Window, error) {
	text := strings.TrimSpace(expr)
	if macro, ok := calendarMacros[strings.ToLower(text)]; ok {
		text = macro
	}
	fields := strings.Fields(text)
	var r Recurrence
	var err error
	seen := 0
	if len(fields) > 0 && isLetter(fields[0][0]) {
		if r.Weekdays, err = calendarWeekdays(fields[0]); err != nil {
			return nil, err
		}
		fields, seen = fields[1:], seen+1
	}
	if len(fields) > 0 && strings.ContainsAny(fields[0], "-~") && !strings.Contains(fields[0], ":") && !isLetter(fields[0][0]) {
		if r.Months, r.MonthDays, err = calendarDate(fields[0]); err != nil {
			return nil, err
		}
		fields, seen = fields[1:], seen+1
	}
	times := []Clock{{}}
	if len(fields) > 0 && strings.Contains(fields[0], ":") {
		if times, err = calendarTimes(fields[0]); err != nil {
			return nil, err
		}
		fields, seen = fields[1:], seen+1
	}
	if seen > 0 && len(fields) == 1 && fields[0] == z.location().String() {
		fields = nil
	}
	if seen == 0 || len(fields) > 0 {
		return nil, fmt.Errorf("expected weekdays, a date and a time such as Mon..Fri *-*-* 20:00, in the zone %s", z.location())
	}
	return windowsAt([]Recurrence{r}, times, z, base)
}

func calendarWeekdays(s string) ([]time.Weekday, error) {
	bad := fmt.Errorf("weekdays %q: expected such as Mon..Fri,Sun", strictjson.Clip(s))
	var days [7]bool // Monday first
	for item := range strings.SplitSeq(s, ",") {
		from, to, ok := strings.Cut(item, "..")
		if !ok {
			from, to, ok = strings.Cut(item, "-")
		}
		if !ok {
			to = from
		}
		first, last := calendarWeekday(from), calendarWeekday(to)
		if first < 0 || last < first {
			return nil, bad
		}
		for i := first; i <= last; i++ {
			days[i] = true
		}
	}
	var out []time.Weekday
	for i, on := range days {
		if on {
			out = append(out, time.Weekday((i+1)%7))
		}
	}
	return out, nil
}

// calendarWeekday returns 0 for Monday to 6 for Sunday, -1 for no weekday.
func calendarWeekday(s string) int {
	for i := range 7 {
		name := time.Weekday((i + 1) % 7).String()
		if strings.EqualFold(s, name) || strings.EqualFold(s, name[:3]) {
			return i
		}
	}
	return -1
}

// calendarDate reads [year-]month-day or, counting from the month's end, [year-]month~day.
func calendarDate(s string) ([]time.Month, []int, error) {
	head, day, fromEnd := strings.Cut(s, "~")
	if !fromEnd {
		i := strings.LastIndexByte(s, '-')
		head, day = s[:i], s[i+1:]
	}
	if year, month, ok := strings.Cut(head, "-"); ok {
		if year != "*" {
			return nil, nil, fmt.Errorf("year %q: windows have no year; expected *", strictjson.Clip(year))
		}
		head = month
	}
	months, err := numberField{what: "month", low: 1, high: 12, between: "..", open: true}.parse(head)
	if err != nil {
		return nil, nil, err
	}
	days := numberField{what: "day", low: 1, high: 31, between: "..", open: true}
	if !fromEnd {
		v, err := days.parse(day)
		return monthsOf(months), v, err
	}
	days.between, days.down = "", true
	v, err := days.parse(day)
	if v == nil && err == nil {
		return nil, nil, errors.New("day ~*: expected a number")
	}
	for i := range v {
		v[i] = -v[i]
	}
	return monthsOf(months), v, err
}

func calendarTimes(s string) ([]Clock, error) {
	parts := strings.Split(s, ":")
	if len(parts) > 3 || len(parts) == 3 && parts[2] != "00" && parts[2] != "0" {
		return nil, fmt.Errorf("time %q: expected hours and minutes, and no seconds but 00", strictjson.Clip(s))
	}
	hours, err := numberField{what: "hour", low: 0, high: 23, between: "..", open: true}.parse(parts[0])
	if err != nil {
		return nil, err
	}
	mins, err := numberField{what: "minute", low: 0, high: 59, between: "..", open: true}.parse(parts[1])
	if err != nil {
		return nil, err
	}
	return timesOf(all(hours, 0, 23), all(mins, 0, 59))
}

// ImportRRule reads a recurrence rule of iCalendar (RFC 5545), such as "FREQ=MONTHLY;BYDAY=-1FR", of a series
// that starts on date start at time at, and makes windows as [ImportCron] does. A window has no beginning and
// no end: start and at give what the rule leaves out, and the day that INTERVAL counts from.
//
// The subset is FREQ of DAILY, WEEKLY, MONTHLY and YEARLY with INTERVAL, BYMONTH, BYMONTHDAY, BYDAY, BYHOUR,
// BYMINUTE, BYSECOND=0 and WKST. COUNT, UNTIL, BYSETPOS, BYYEARDAY, BYWEEKNO, and intervals of months that
// do not divide a year, are refused.
func ImportRRule(rule string, start Day, at Clock, z Zone, base Window) ([]Window, error) {
	w, err := importRRule(rule, start, at, z, base)
	if err != nil {
		return nil, fmt.Errorf("rrule %q: %w", strictjson.Clip(rule), err)
	}
	return w, nil
}

// rrule is a recurrence rule taken apart.
type rrule struct {
	freq                      string
	interval                  int
	months, days              []int
	weekdays                  []nthWeekday
	hours, minutes            []int
	weekStart                 time.Weekday
	hasWeekdays, hasMonthDays bool
}

type nthWeekday struct {
	n  int // 0: every
	wd time.Weekday
}

func importRRule(rule string, start Day, at Clock, z Zone, base Window) ([]Window, error) {
	if !start.Valid() || !at.valid() {
		return nil, errors.New("give the date and the time of the series' start")
	}
	r, err := parseRRule(rule)
	if err != nil {
		return nil, err
	}
	days, err := r.recurrences(start)
	if err != nil {
		return nil, err
	}
	if r.hours == nil {
		r.hours = []int{at.Hour}
	}
	if r.minutes == nil {
		r.minutes = []int{at.Minute}
	}
	times, err := timesOf(r.hours, r.minutes)
	if err != nil {
		return nil, err
	}
	return windowsAt(days, times, z, base)
}

func parseRRule(rule string) (*rrule, error) {
	r := &rrule{interval: 1, weekStart: time.Monday}
	seen := map[string]bool{}
	text := strings.ToUpper(strings.TrimSpace(rule))
	for part := range strings.SplitSeq(strings.TrimPrefix(text, "RRULE:"), ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || seen[name] {
			return nil, fmt.Errorf("%q: expected parts such as FREQ=DAILY, each once", strictjson.Clip(part))
		}
		seen[name] = true
		var err error
		switch name {
		case "FREQ":
			r.freq = value
		case "INTERVAL":
			if r.interval, ok = civil.Digits(value); !ok || r.interval < 1 || r.interval > 1000 {
				err = errors.New("INTERVAL: expected 1 to 1000")
			}
		case "BYMONTH":
			r.months, err = signedList(name, value, 1, 12)
		case "BYMONTHDAY":
			r.hasMonthDays = true
			r.days, err = signedList(name, value, -31, 31)
		case "BYHOUR":
			r.hours, err = signedList(name, value, 0, 23)
		case "BYMINUTE":
			r.minutes, err = signedList(name, value, 0, 59)
		case "BYSECOND":
			if value != "0" && value != "00" {
				err = errors.New("BYSECOND: windows open on whole minutes; expected 0")
			}
		case "BYDAY":
			r.hasWeekdays = true
			r.weekdays, err = nthWeekdays(value)
		case "WKST":
			var wds []nthWeekday
			if wds, err = nthWeekdays(value); err == nil {
				if len(wds) != 1 || wds[0].n != 0 {
					return nil, errors.New("WKST: expected one weekday such as MO")
				}
				r.weekStart = wds[0].wd
			}
		default:
			err = fmt.Errorf("%s cannot be expressed as a window", strictjson.Clip(name))
		}
		if err != nil {
			return nil, err
		}
	}
	if r.freq == "" {
		return nil, errors.New("FREQ is missing")
	}
	return r, nil
}

// recurrences says the rule as recurrences. RFC 5545, section 3.3.10, has the table of what each part does
// at each frequency: limit the days, or expand to more.
func (r *rrule) recurrences(start Day) ([]Recurrence, error) {
	ordinal := slices.ContainsFunc(r.weekdays, func(d nthWeekday) bool { return d.n != 0 })
	if ordinal && r.freq != "MONTHLY" && (r.freq != "YEARLY" || r.months == nil) {
		return nil, errors.New("BYDAY with a number counts within a month: expected FREQ=MONTHLY, or YEARLY with BYMONTH")
	}
	limit := Recurrence{Months: monthsOf(r.months), MonthDays: r.days}
	switch r.freq {
	case "DAILY":
		limit.Weekdays = plainWeekdays(r.weekdays)
		if r.interval > 1 {
			limit.Every, limit.Anchor = r.interval, start
		}
		return []Recurrence{limit}, nil

	case "WEEKLY":
		if r.hasMonthDays {
			return nil, errors.New("BYMONTHDAY does not go with FREQ=WEEKLY")
		}
		limit.Weekdays = plainWeekdays(r.weekdays)
		if !r.hasWeekdays {
			limit.Weekdays = []time.Weekday{start.Weekday()}
		}
		if r.interval == 1 {
			return []Recurrence{limit}, nil
		}
		// Each weekday recurs by itself, from the first week's on; what lies before start comes a turn later.
		week := start.AddDays(-((int(start.Weekday()-r.weekStart) + 7) % 7))
		var out []Recurrence
		for _, wd := range limit.Weekdays {
			one := Recurrence{Months: limit.Months, Every: 7 * r.interval}
			one.Anchor = week.AddDays((int(wd-r.weekStart) + 7) % 7)
			if one.Anchor.Before(start) {
				one.Anchor = one.Anchor.AddDays(one.Every)
			}
			out = append(out, one)
		}
		return out, nil

	case "MONTHLY":
		if 12%r.interval != 0 {
			return nil, fmt.Errorf("every %d months is not the same months each year; expected 1, 2, 3, 4, 6 or 12", r.interval)
		}
		if r.interval > 1 {
			var months []time.Month
			for m := time.January; m <= time.December; m++ {
				if (int(m-start.Month)+12)%r.interval == 0 && (limit.Months == nil || slices.Contains(limit.Months, m)) {
					months = append(months, m)
				}
			}
			if months == nil {
				return nil, errors.New("INTERVAL and BYMONTH have no month in common")
			}
			limit.Months = months
		}

	case "YEARLY":
		if r.interval != 1 {
			return nil, errors.New("windows have no year; expected INTERVAL=1 with FREQ=YEARLY")
		}
		if r.months == nil && !r.hasMonthDays && !r.hasWeekdays {
			limit.Months = []time.Month{start.Month}
		}

	default:
		return nil, fmt.Errorf("FREQ %q: expected DAILY, WEEKLY, MONTHLY or YEARLY", strictjson.Clip(r.freq))
	}
	if !r.hasWeekdays {
		if !r.hasMonthDays {
			limit.MonthDays = []int{start.Day}
		}
		return []Recurrence{limit}, nil
	}
	// One recurrence for each number that stands before a weekday.
	var out []Recurrence
	for n := -5; n <= 5; n++ {
		one := limit
		for _, d := range r.weekdays {
			if d.n == n {
				one.Weekdays = append(one.Weekdays, d.wd)
			}
		}
		if one.Weekdays == nil {
			continue
		}
		if n != 0 {
			one.Nth = []int{n}
		}
		out = append(out, one)
	}
	return out, nil
}

func plainWeekdays(list []nthWeekday) (out []time.Weekday) {
	for _, d := range list {
		out = append(out, d.wd)
	}
	return out
}

func nthWeekdays(s string) (out []nthWeekday, err error) {
	for item := range strings.SplitSeq(s, ",") {
		bad := fmt.Errorf("weekday %q: expected such as MO, 2TU or -1FR, each once", strictjson.Clip(item))
		if len(item) < 2 {
			return nil, bad
		}
		number, name := item[:len(item)-2], item[len(item)-2:]
		d := nthWeekday{wd: -1}
		for i, full := range weekdayNames {
			if strings.EqualFold(full[:2], name) {
				d.wd = time.Weekday(i)
			}
		}
		if number != "" {
			n, err := signed(number)
			if d.n = n; err != nil || n < -5 || n > 5 || n == 0 {
				return nil, bad
			}
		}
		if d.wd < 0 || slices.Contains(out, d) {
			return nil, bad
		}
		out = append(out, d)
	}
	return out, nil
}

func signedList(what, s string, low, high int) (out []int, err error) {
	for item := range strings.SplitSeq(s, ",") {
		n, err := signed(item)
		if err != nil || n < low || n > high || low != 0 && n == 0 || slices.Contains(out, n) {
			return nil, fmt.Errorf("%s %q: expected numbers from %d to %d, each once", what, strictjson.Clip(s), low, high)
		}
		out = append(out, n)
	}
	return out, nil
}

func signed(s string) (int, error) {
	rest, negative := strings.CutPrefix(s, "-")
	if !negative {
		rest = strings.TrimPrefix(s, "+")
	}
	n, ok := civil.Digits(rest)
	if !ok {
		return 0, strconv.ErrSyntax
	}
	if negative {
		n = -n
	}
	return n, nil
}

var monthNames = []string{"", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// numberField is one field of a cron or systemd schedule: a list of numbers, ranges and steps.
type numberField struct {
	what      string
	low, high int
	names     []string // for low and up; empty names are none
	between   string   // joins the ends of a range; empty: there are none
	open      bool     // "3/4" is 3 and every fourth up to high
	down      bool     // steps go down to low instead
}

// parse returns the numbers in order, or nil for a plain *.
func (f numberField) parse(s string) ([]int, error) {
	if s == "*" {
		return nil, nil
	}
	in := make([]bool, f.high+1)
	for item := range strings.SplitSeq(s, ",") {
		if err := f.item(item, in); err != nil {
			return nil, err
		}
	}
	var out []int
	for n, on := range in {
		if on {
			out = append(out, n)
		}
	}
	return out, nil
}

func (f numberField) item(s string, in []bool) error {
	bad := fmt.Errorf("%s %q: expected numbers from %d to %d, ranges and steps", f.what, strictjson.Clip(s), f.low, f.high)
	span, stepText, hasStep := strings.Cut(s, "/")
	step := 1
	if hasStep {
		var ok bool
		if step, ok = civil.Digits(stepText); !ok || step < 1 || step > f.high {
			return bad
		}
	}
	first, last := f.low, f.high
	if span != "*" {
		from, to, isRange := span, "", false
		if f.between != "" {
			from, to, isRange = strings.Cut(span, f.between)
		}
		var okFirst, okLast bool
		first, okFirst = f.number(from)
		last, okLast = first, true
		switch {
		case isRange:
			last, okLast = f.number(to)
		case hasStep && f.down:
			first, last = f.low+(first-f.low)%step, first
		case hasStep && f.open:
			last = f.high
		case hasStep:
			return bad
		}
		if !okFirst || !okLast || last < first {
			return bad
		}
	} else if f.down {
		return bad
	}
	for n := first; n <= last; n += step {
		in[n] = true
	}
	return nil
}

func (f numberField) number(s string) (int, bool) {
	for i, name := range f.names {
		if name != "" && strings.EqualFold(s, name) {
			return i, true
		}
	}
	n, ok := civil.Digits(s)
	return n, ok && len(s) <= 2 && n >= f.low && n <= f.high
}

// all stands for a plain * where every number must be spelled out.
func all(v []int, low, high int) []int {
	if v == nil {
		for n := low; n <= high; n++ {
			v = append(v, n)
		}
	}
	return v
}

func monthsOf(v []int) (out []time.Month) {
	for _, n := range v {
		out = append(out, time.Month(n))
	}
	return out
}

// weekdaysOf takes 7 for Sunday, as 0 is.
func weekdaysOf(v []int) (out []time.Weekday) {
	for _, n := range v {
		if wd := time.Weekday(n % 7); !slices.Contains(out, wd) {
			out = append(out, wd)
		}
	}
	return out
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func timesOf(hours, minutes []int) ([]Clock, error) {
	if len(hours)*len(minutes) > maxTimes {
		return nil, fmt.Errorf("%d times a day, more than %d: open one window and run as often as you like in it",
			len(hours)*len(minutes), maxTimes)
	}
	var out []Clock
	for _, h := range hours {
		for _, m := range minutes {
			out = append(out, Clock{h, m})
		}
	}
	slices.SortFunc(out, func(a, b Clock) int { return a.minutes() - b.minutes() })
	return out, nil
}

// windowsAt makes one window of each time. days are dates; the windows' are business days.
func windowsAt(days []Recurrence, times []Clock, z Zone, base Window) ([]Window, error) {
	if err := z.check(); err != nil {
		return nil, err
	}
	every := slices.ContainsFunc(days, func(r Recurrence) bool {
		return r.Weekdays == nil && r.MonthDays == nil && r.Months == nil && r.Every == 0
	})
	if every {
		days = nil
	}
	var out []Window
	for _, c := range times {
		w := base
		w.Opens, w.Days = c, slices.Clone(days)
		w.Blackouts = slices.Clone(base.Blackouts)
		if len(times) > 1 {
			w.Name += fmt.Sprintf("-%02d%02d", c.Hour, c.Minute)
		}
		if c.minutes() < z.DayStart.minutes() {
			w.Days = nil
			for _, r := range days {
				earlier, err := r.dayBefore()
				if err != nil {
					return nil, fmt.Errorf("%s belongs to the business day before, which begins at %s: %w", c, z.DayStart, err)
				}
				w.Days = append(w.Days, earlier...)
			}
		}
		if err := w.Check(); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// dayBefore returns recurrences of the days before those that r names.
func (r Recurrence) dayBefore() ([]Recurrence, error) {
	if len(r.Nth) > 0 {
		return nil, errors.New("the day before the n-th weekday of a month cannot be expressed; open the window after that time")
	}
	e := Recurrence{Every: r.Every}
	if r.Every > 0 {
		e.Anchor = r.Anchor.AddDays(-1)
	}
	for _, wd := range r.Weekdays {
		e.Weekdays = append(e.Weekdays, (wd+6)%7)
	}
	days := r.MonthDays
	switch {
	case days == nil && r.Months == nil:
		return []Recurrence{e}, nil
	case days == nil:
		for n := 1; n <= 31; n++ {
			days = append(days, n)
		}
	}

	// The day before the 1st is the last of the month before. That before any other has the number less
	// one; counted from the end, one more.
	var out []Recurrence
	if slices.Contains(days, 1) {
		first := e
		first.MonthDays = []int{-1}
		for _, m := range r.Months {
			first.Months = append(first.Months, (m+10)%12+1)
		}
		out = append(out, first)
	}
	e.Months = r.Months
	if r.MonthDays == nil {
		for n := 2; n <= 31; n++ {
			e.MonthDays = append(e.MonthDays, -n)
		}
		return append(out, e), nil
	}
	for _, n := range days {
		switch {
		case n == 1:
			continue
		case n > 28 && !r.allMonthsHave(n), n < -27:
			return nil, fmt.Errorf("the day before month day %d, where a month may lack it, cannot be expressed; "+
				"open the window after that time", n)
		}
		e.MonthDays = append(e.MonthDays, n-1)
	}
	if len(e.MonthDays) > 0 {
		out = append(out, e)
	}
	return out, nil
}

// allMonthsHave reports whether each of r's months has n days every year.
func (r Recurrence) allMonthsHave(n int) bool {
	for _, m := range r.Months {
		if n > (Day{Year: 2001, Month: m, Day: 1}).MonthEnd() {
			return false
		}
	}
	return len(r.Months) > 0
}
