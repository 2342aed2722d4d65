package rotation

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/internal/strictjson"
)

// Holidays says on which days the practice works. The zero value is a practice without holidays that works
// from Monday to Friday.
//
// A table of holidays is a suggestion. Some are proclaimed late, or differ by town, and a backup on a
// holiday costs little; so a table alone never suppresses one. What it does is up to each window's
// [HolidayPolicy], which moves runs or swaps them for the Sunday's, and runs on the day itself where nothing
// would be left.
//
// Its JSON form is
//
//	{"workdays":["mon","tue","wed","thu","fri","sat"],"days":{"2026-12-25":"Christmas Day"}}
//
// where workdays may be left out, and unknown fields and days given twice are refused.
type Holidays struct {
	// Workdays are the days of the week on which the practice works; none is Monday to Friday.
	Workdays []time.Weekday
	// Days are the holidays and their names.
	Days map[Day]string
}

// maxHolidays bounds a table: a century of generous ones.
const maxHolidays = 10_000

// Business reports whether the practice works on d: a workday that is no holiday.
func (h Holidays) Business(d Day) bool {
	_, holiday := h.Days[d]
	return !holiday && h.workday(d.Weekday())
}

func (h Holidays) workday(w time.Weekday) bool {
	if len(h.Workdays) == 0 {
		return w != time.Saturday && w != time.Sunday
	}
	return slices.Contains(h.Workdays, w)
}

// lastBusiness returns the last business day between from and to, which span a week at least. Where holidays
// leave none it is the last workday: a table alone suppresses nothing.
func (h Holidays) lastBusiness(from, to Day) Day {
	var workday Day
	for d := to; !d.Before(from); d = d.AddDays(-1) {
		if h.Business(d) {
			return d
		}
		if workday.IsZero() && h.workday(d.Weekday()) {
			workday = d
		}
	}
	return workday
}

// nearest returns the business day next to d in direction step, or d where the next fortnight has none.
func (h Holidays) nearest(d Day, step int) Day {
	for i := 1; i <= maxMove; i++ {
		if e := d.AddDays(i * step); h.Business(e) {
			return e
		}
	}
	return d
}

// maxMove is how many days a holiday can move a run.
const maxMove = 14

// MarshalJSON implements [json.Marshaler]. The form is canonical: equal tables give equal bytes.
func (h Holidays) MarshalJSON() ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	return json.Marshal(holidaysJSON{weekdaysOut(h.Workdays), h.Days})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (h *Holidays) UnmarshalJSON(data []byte) error {
	var v holidaysJSON
	if err := strict(data, &v); err != nil {
		return fmt.Errorf("holidays: %w", err)
	}
	r := Holidays{weekdaysIn(v.Workdays), v.Days}
	if err := r.check(); err != nil {
		return err
	}
	*h = r
	return nil
}

type holidaysJSON struct {
	Workdays []weekday      `json:"workdays,omitempty"`
	Days     map[Day]string `json:"days,omitempty"`
}

func (h Holidays) check() error {
	if err := checkWeekdays(h.Workdays); err != nil {
		return fmt.Errorf("holidays: %w", err)
	}
	if len(h.Days) > maxHolidays {
		return fmt.Errorf("holidays: %d days, more than the %d allowed", len(h.Days), maxHolidays)
	}
	for d, name := range h.Days {
		if !d.Valid() {
			return fmt.Errorf("holidays: %q is not a date of the calendar", d)
		}
		if !utf8.ValidString(name) {
			return fmt.Errorf("holidays: the name of %s is not UTF-8", d)
		}
	}
	return nil
}

// Add returns a table that has the days of both; where both name a day, other's name stands. The workdays
// are h's.
func (h Holidays) Add(other Holidays) Holidays {
	days := make(map[Day]string, len(h.Days)+len(other.Days))
	maps.Copy(days, h.Days)
	maps.Copy(days, other.Days)
	return Holidays{h.Workdays, days}
}

// ParseICS reads the holidays of a calendar file in the iCalendar format (RFC 5545), as governments publish
// them: all-day events, VALUE=DATE, of at most 31 days each. Cancelled events are left out. An event with a
// time of day or a recurrence is refused, since reading it wrongly would go unnoticed; so is a file that
// breaks off. Components other than VEVENT and properties without bearing on the date are skipped.
func ParseICS(data []byte) (Holidays, error) {
	h := Holidays{Days: map[Day]string{}}
	lines, err := icsLines(data)
	if err != nil {
		return Holidays{}, err
	}
	var open []string // the components that line is in, outermost first
	var e icsEvent
	ended := false
	for _, l := range lines {
		fail := func(format string, args ...any) (Holidays, error) {
			return Holidays{}, fmt.Errorf("calendar file, line %d: %w", l.number, fmt.Errorf(format, args...))
		}
		name, params, value, ok := l.split()
		if !ok {
			return fail("expected a property such as SUMMARY:Christmas Day")
		}
		component := strings.ToUpper(strings.TrimSpace(value))
		switch {
		case name == "BEGIN":
			if len(open) == 0 && (component != "VCALENDAR" || ended) || len(open) > 8 {
				return fail("expected one VCALENDAR and its components")
			}
			if open = append(open, component); component == "VEVENT" && len(open) == 2 {
				e = icsEvent{}
			}
		case len(open) == 0:
			return fail("expected BEGIN:VCALENDAR first and nothing after its end")
		case name == "END":
			if open[len(open)-1] != component {
				return fail("END:%s closes what is not open", strictjson.Clip(component))
			}
			if open = open[:len(open)-1]; component == "VEVENT" && len(open) == 1 {
				if err := e.addTo(h.Days); err != nil {
					return fail("%w", err)
				}
				if len(h.Days) > maxHolidays {
					return fail("more than %d holidays", maxHolidays)
				}
			}
			ended = len(open) == 0
		case len(open) == 2 && open[1] == "VEVENT":
			if err := e.property(name, params, value); err != nil {
				return fail("%w", err)
			}
		}
	}
	if !ended {
		return Holidays{}, errors.New("calendar file: it breaks off before END:VCALENDAR")
	}
	return h, nil
}

type icsLine struct {
	number int // of the line it begins on
	text   string
}

// icsLines undoes the folding of long lines.
func icsLines(data []byte) ([]icsLine, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("calendar file: not UTF-8")
	}
	var lines []icsLine
	text := strings.TrimPrefix(string(data), "\ufeff")
	for i, s := range strings.Split(text, "\n") {
		s = strings.TrimSuffix(s, "\r")
		switch {
		case s != "" && (s[0] == ' ' || s[0] == '\t') && len(lines) > 0:
			lines[len(lines)-1].text += s[1:]
		case s != "":
			lines = append(lines, icsLine{i + 1, s})
		}
	}
	return lines, nil
}

// split takes a content line apart into its name, its parameters and its value. Names and parameters come
// in upper case.
func (l icsLine) split() (name, params, value string, ok bool) {
	quoted := false
	for i := 0; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == '"':
			quoted = !quoted
		case c == ':' && !quoted:
			name, params, _ = strings.Cut(strings.ToUpper(l.text[:i]), ";")
			return name, params, l.text[i+1:], name != ""
		}
	}
	return "", "", "", false
}

type icsEvent struct {
	first, end Day // end is the day after the last
	days       int // from DURATION
	name       string
	cancelled  bool
}

func (e *icsEvent) property(name, params, value string) error {
	var err error
	switch name {
	case "DTSTART":
		err = icsDay(&e.first, name, params, value)
	case "DTEND":
		err = icsDay(&e.end, name, params, value)
	case "DURATION":
		n, unit := strings.TrimPrefix(value, "P"), 1
		if w, ok := strings.CutSuffix(n, "W"); ok {
			n, unit = w+"D", 7
		}
		days, ok := strings.CutSuffix(n, "D")
		if e.days, _ = civil.Digits(days); !ok || e.days < 1 || e.days > 31 || !strings.HasPrefix(value, "P") {
			return fmt.Errorf("DURATION %q: expected whole days such as P1D", strictjson.Clip(value))
		}
		e.days *= unit
	case "SUMMARY":
		e.name = icsText.Replace(strings.TrimSpace(value))
	case "STATUS":
		e.cancelled = strings.EqualFold(strings.TrimSpace(value), "CANCELLED")
	case "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID":
		return fmt.Errorf("%s: recurring events are not read; give a file that lists every date", name)
	}
	return err
}

var icsText = strings.NewReplacer(`\\`, `\`, `\,`, `,`, `\;`, `;`, `\n`, " ", `\N`, " ")

func icsDay(d *Day, name, params, value string) error {
	v := strings.TrimSpace(value)
	allDay := slices.Contains(strings.Split(params, ";"), "VALUE=DATE")
	if !allDay || len(v) != len("20261225") || !d.IsZero() {
		return fmt.Errorf("%s: expected an all-day event, one %s;VALUE=DATE:20261225", name, name)
	}
	day, err := ParseDay(v[:4] + "-" + v[4:6] + "-" + v[6:])
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*d = day
	return nil
}

func (e *icsEvent) addTo(days map[Day]string) error {
	switch {
	case e.first.IsZero():
		return errors.New("an event without DTSTART")
	case !e.end.IsZero() && e.days != 0:
		return errors.New("an event with both DTEND and DURATION")
	case e.end.IsZero():
		e.end = e.first.AddDays(max(e.days, 1))
	}
	// Some calendars give the same date for both, though the end is meant to be the day after.
	n := e.end.Sub(e.first)
	if n == 0 {
		n = 1
	}
	if n < 0 || n > 31 || !e.end.Valid() {
		return fmt.Errorf("an event of %d days; expected 1 to 31", n)
	}
	if e.cancelled {
		return nil
	}
	for i := range n {
		d := e.first.AddDays(i)
		if name, ok := days[d]; ok && name != e.name {
			days[d] = name + ", " + e.name
			continue
		}
		days[d] = e.name
	}
	return nil
}
