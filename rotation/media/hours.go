package media

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// Week is a set of weekdays, one bit each from Sunday (bit 0). Its text is like "Mon,Tue,Wed".
type Week uint8

// MondayToFriday is the usual week.
const MondayToFriday Week = 1<<time.Monday | 1<<time.Tuesday | 1<<time.Wednesday | 1<<time.Thursday | 1<<time.Friday

// fromMonday is the order of a week.
var fromMonday = [...]time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday,
	time.Saturday, time.Sunday}

// WeekOf makes a set of weekdays.
func WeekOf(days ...time.Weekday) Week {
	var w Week
	for _, d := range days {
		w |= 1 << d
	}
	return w
}

// Has reports whether d is in the set.
func (w Week) Has(d time.Weekday) bool { return w>>d&1 == 1 }

// Len is how many weekdays the set has.
func (w Week) Len() int {
	n := 0
	for _, d := range fromMonday {
		if w.Has(d) {
			n++
		}
	}
	return n
}

// String returns the weekdays from Monday, like "Mon,Tue".
func (w Week) String() string {
	var names []string
	for _, d := range fromMonday {
		if w.Has(d) {
			names = append(names, d.String()[:3])
		}
	}
	return strings.Join(names, ",")
}

// MarshalText implements [encoding.TextMarshaler].
func (w Week) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (w *Week) UnmarshalText(text []byte) error {
	*w = 0
	if len(text) == 0 {
		return nil
	}
	for name := range strings.SplitSeq(string(text), ",") {
		i := slices.IndexFunc(fromMonday[:], func(d time.Weekday) bool { return d.String()[:3] == name })
		if i < 0 {
			return fmt.Errorf("week: expected weekdays such as Mon,Tue,Wed, not %.20q", name)
		}
		*w |= 1 << fromMonday[i]
	}
	return nil
}

// Hours says when people are at the practice and when patients are seen. A zero field means the default.
// A public holiday is a closed day: nobody swaps a drive, and nobody writes data that could be lost.
type Hours struct {
	Days   Week           // when the practice is open; default Monday to Friday
	Closed []rotation.Day // public holidays and other days on which it is not

	StaffFrom, StaffTo     rotation.Clock // when drives can be carried; default 08:30 to 17:30
	SurgeryFrom, SurgeryTo rotation.Clock // when data is made; default 09:00 to 17:30
}

// Open reports whether d is a business day.
func (h Hours) Open(d rotation.Day) bool {
	return h.week().Has(d.Weekday()) && !slices.Contains(h.Closed, d)
}

// NextOpen is the first business day after d. A practice that never opens has none: the zero Day.
func (h Hours) NextOpen(d rotation.Day) rotation.Day { return h.seek(d, 1) }

// LastOpen is the last business day before d, or the zero Day.
func (h Hours) LastOpen(d rotation.Day) rotation.Day { return h.seek(d, -1) }

// seek bounds the search by the closed days that are listed and one week more.
func (h Hours) seek(d rotation.Day, step int) rotation.Day {
	for range len(h.Closed) + 8 {
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

func (h Hours) week() Week {
	if h.Days == 0 {
		return MondayToFriday
	}
	return h.Days
}

// withDefaults fills in what is zero.
func (h Hours) withDefaults() Hours {
	h.Days = h.week()
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
	case h.Days > 127:
		return fmt.Errorf("hours: %d is no set of weekdays", h.Days)
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
