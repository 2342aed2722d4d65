package media

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// fromMonday is the order of a week.
var fromMonday = [...]time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday,
	time.Saturday, time.Sunday}

// Hours says when people are at the practice and when patients are seen. A zero field means the default.
// On a holiday nobody swaps a drive, and nobody writes data that could be lost.
type Hours struct {
	Holidays rotation.Holidays // when the practice works; default Monday to Friday

	StaffFrom, StaffTo     rotation.Clock // when drives can be carried; default 08:30 to 17:30
	SurgeryFrom, SurgeryTo rotation.Clock // when data is made; default 09:00 to 17:30
}

// Open reports whether d is a business day.
func (h Hours) Open(d rotation.Day) bool {
	return h.Holidays.Business(d)
}

// NextOpen is the first business day after d. A practice that never opens has none: the zero Day.
func (h Hours) NextOpen(d rotation.Day) rotation.Day { return h.seek(d, 1) }

// LastOpen is the last business day before d, or the zero Day.
func (h Hours) LastOpen(d rotation.Day) rotation.Day { return h.seek(d, -1) }

// seek bounds the search by the holidays that are listed and one week more.
func (h Hours) seek(d rotation.Day, step int) rotation.Day {
	for range len(h.Holidays.Days) + 8 {
		if d = d.AddDays(step); h.Open(d) {
			return d
		}
	}
	return rotation.Day{}
}

// LastOfWeek reports whether d is the last business day of its week, which begins on Monday. Where Friday
// is a public holiday that is Thursday: the weekly copy is not lost to Good Friday.
func (h Hours) LastOfWeek(d rotation.Day) bool {
	return h.Open(d) && !sameWeek(d, h.NextOpen(d))
}

// LastOfMonth reports whether d is the last business day of its month.
func (h Hours) LastOfMonth(d rotation.Day) bool {
	next := h.NextOpen(d)
	return h.Open(d) && (next.Month != d.Month || next.Year != d.Year)
}

// LastOfYear reports whether d is the last business day of its year.
func (h Hours) LastOfYear(d rotation.Day) bool {
	return h.Open(d) && h.NextOpen(d).Year != d.Year
}

// works reports whether w is a workday.
func (h Hours) works(w time.Weekday) bool {
	if len(h.Holidays.Workdays) == 0 {
		return w != time.Saturday && w != time.Sunday
	}
	return slices.Contains(h.Holidays.Workdays, w)
}

// perWeek is the number of workdays.
func (h Hours) perWeek() int {
	n := 0
	for _, d := range fromMonday {
		if h.works(d) {
			n++
		}
	}
	return n
}

// withDefaults fills in what is zero.
func (h Hours) withDefaults() Hours {
	if h.StaffFrom == (rotation.Clock{}) && h.StaffTo == (rotation.Clock{}) {
		h.StaffFrom, h.StaffTo = rotation.Clock{Hour: 8, Minute: 30}, rotation.Clock{Hour: 17, Minute: 30}
	}
	if h.SurgeryFrom == (rotation.Clock{}) && h.SurgeryTo == (rotation.Clock{}) {
		h.SurgeryFrom, h.SurgeryTo = rotation.Clock{Hour: 9}, rotation.Clock{Hour: 17, Minute: 30}
	}
	return h
}

func (h Hours) check() error {
	switch {
	case minutes(h.StaffFrom) >= minutes(h.StaffTo):
		return fmt.Errorf("hours: staff arrive at %s and leave at %s: the second must be later", h.StaffFrom, h.StaffTo)
	case minutes(h.SurgeryFrom) >= minutes(h.SurgeryTo):
		return fmt.Errorf("hours: surgery from %s to %s: the second must be later", h.SurgeryFrom, h.SurgeryTo)
	case h.perWeek() == 0:
		return errors.New("hours: the practice works on no day of the week")
	}
	return nil
}

// Lost is how much surgery time lies between two moments, what is lost at now when the newest good copy
// shows the practice as it was at data. It is never negative.
func (h Hours) Lost(data, now Moment) time.Duration {
	h = h.withDefaults()
	if !data.Before(now) {
		return 0
	}
	total := -h.surgeryBefore(data)
	for d := data.Day; d.Before(now.Day); d = d.AddDays(1) {
		if h.Open(d) {
			total += minutes(h.SurgeryTo) - minutes(h.SurgeryFrom)
		}
	}
	return time.Duration(total+h.surgeryBefore(now)) * time.Minute
}

// surgeryBefore is the surgery time of m's day up to m, in minutes.
func (h Hours) surgeryBefore(m Moment) int {
	if !h.Open(m.Day) {
		return 0
	}
	from, to := minutes(h.SurgeryFrom), minutes(h.SurgeryTo)
	return min(max(minutes(m.Clock), from), to) - from
}

// Moment is a civil time at the practice, without a zone. A practice's routine is kept in civil time, so
// the two odd hours of a year change nothing here.
type Moment struct {
	Day   rotation.Day
	Clock rotation.Clock
}

// Before reports whether m is earlier than n.
func (m Moment) Before(n Moment) bool {
	if c := m.Day.Compare(n.Day); c != 0 {
		return c < 0
	}
	return minutes(m.Clock) < minutes(n.Clock)
}

// String returns the moment like "Mon 5 Oct 08:30".
func (m Moment) String() string { return shortDay(m.Day) + " " + m.Clock.String() }

func minutes(c rotation.Clock) int { return c.Hour*60 + c.Minute }

func shortDay(d rotation.Day) string {
	return fmt.Sprintf("%s %d %s", d.Weekday().String()[:3], d.Day, d.Month.String()[:3])
}

// until writes a day as people do: the year only where it is not this one's.
func until(d, today rotation.Day) string {
	s := fmt.Sprintf("%d %s", d.Day, d.Month.String()[:3])
	if d.Year != today.Year {
		s += fmt.Sprintf(" %d", d.Year)
	}
	return s
}

// monday is the first day of d's week.
func monday(d rotation.Day) rotation.Day { return d.AddDays(-(int(d.Weekday()) + 6) % 7) }

func sameWeek(a, b rotation.Day) bool { return monday(a) == monday(b) }
