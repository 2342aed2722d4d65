package media

import (
	"errors"
	"fmt"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// Kind names a rotation scheme.
type Kind string

// The schemes.
const (
	KindRoundRobin        Kind = "round-robin"
	KindHanoi             Kind = "tower-of-hanoi"
	KindGFS               Kind = "grandfather-father-son"
	KindSixTapeFridayAB   Kind = "six-tape-friday-ab"
	KindSixTapeMondayFull Kind = "six-tape-monday-full"
	KindSpread            Kind = "spread"
)

// Ordinal says what moves a set on.
type Ordinal string

const (
	// ByCalendar numbers the opening days of the calendar, whether a session took place or not, so that
	// Tuesday stays blue. After a missed session the guarantees of the scheme may not hold for one turn.
	ByCalendar Ordinal = "calendar"
	// BySession numbers the sessions that took place, so that the guarantees hold after missed ones too.
	BySession Ordinal = "session"
)

// Tier says what a slot is for.
type Tier string

// The tiers, from the finest to the coarsest.
const (
	Daily   Tier = "daily"
	Weekly  Tier = "weekly"
	Monthly Tier = "monthly"
	Yearly  Tier = "yearly"
)

// Slot is one place of a set: the session that falls to it writes the medium that stands in it.
type Slot struct {
	Index int    // in [Set.Slots]
	Name  string // "daily-1", "weekly-A"
	Tier  Tier
	// Partial: the session writes only what changed, so the copy is of use only with the newest full one
	// before it.
	Partial bool `json:",omitempty"`
}

// Set is a rotation scheme with its numbers. It is a comparable value; make one with [RoundRobin],
// [Hanoi], [GFS], [SixTapeFridayAB], [SixTapeMondayFull] or [Spread]. The zero Set is refused wherever it
// is used.
type Set struct {
	Kind    Kind
	Ordinal Ordinal // empty: by calendar, but by session for [KindSpread], which has no other
	Media   int     `json:",omitempty"` // of round robin, Hanoi and spread
	GFS     Tiers   `json:",omitzero"`
}

// Tiers is how many media a grandfather-father-son set has in each tier; Yearly may be zero.
//
// By calendar, a weekday has its daily medium, the last business day of a week is weekly, that of a month
// monthly and that of a year yearly, and a coarser tier takes the day from a finer one. So the weekly copy
// is made on Thursday when Friday is Good Friday. By session, a week is five sessions and a month four weeks.
type Tiers struct {
	Daily, Weekly, Monthly, Yearly int
}

// maxMedia bounds a set: Hanoi of more would not come round in a lifetime.
const maxMedia = 64

// RoundRobin writes n media in turn.
func RoundRobin(n int, o Ordinal) (Set, error) {
	s := Set{Kind: KindRoundRobin, Ordinal: o, Media: n}
	return s, s.check()
}

// Hanoi is the Tower of Hanoi: of n media the first is written every second session, the next every
// fourth, and so on. At any time, also while one is overwritten, the oldest copy is at least 2^(n-2)-1
// sessions old. At most 15 media: the last then returns after 63 years of working days.
func Hanoi(n int, o Ordinal) (Set, error) {
	s := Set{Kind: KindHanoi, Ordinal: o, Media: n}
	return s, s.check()
}

// GFS is grandfather-father-son, see [Tiers].
func GFS(t Tiers, o Ordinal) (Set, error) {
	s := Set{Kind: KindGFS, Ordinal: o, GFS: t}
	return s, s.check()
}

// SixTapeFridayAB is what most people mean by the six-tape scheme: one medium for each of Monday to
// Thursday and two that alternate on Fridays, each holding a full copy.
//
// The scheme published under the same name is another one; see [SixTapeMondayFull].
func SixTapeFridayAB(o Ordinal) (Set, error) {
	s := Set{Kind: KindSixTapeFridayAB, Ordinal: o}
	return s, s.check()
}

// SixTapeMondayFull is the six-tape scheme as tape vendors published it: a full copy on Monday, partial
// ones on a tape each on Tuesday to Thursday, and a full one on Friday that goes offsite, two of which
// alternate. Without Monday's tape those of the three days after it are of no use. Carekeep's own copies
// are always complete in themselves, so it is here to be compared with, and for data of other makers.
func SixTapeMondayFull(o Ordinal) (Set, error) {
	s := Set{Kind: KindSixTapeMondayFull, Ordinal: o}
	return s, s.check()
}

// ErrSet is wrapped by every refusal of a set.
var ErrSet = errors.New("rotation set")

func (s Set) check() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrSet, fmt.Sprintf(format, args...))
	}
	switch s.Ordinal {
	case "", ByCalendar, BySession:
	default:
		return refuse("ordinal %.20q: expected %q or %q", string(s.Ordinal), ByCalendar, BySession)
	}
	least, most := 1, maxMedia
	switch s.Kind {
	case KindSixTapeFridayAB, KindSixTapeMondayFull:
		return nil
	case KindGFS:
		t := s.GFS
		switch {
		case t.Daily < 1 || t.Weekly < 1 || t.Monthly < 1 || t.Yearly < 0:
			return refuse("grandfather-father-son needs at least one daily, weekly and monthly medium; it has %d, %d and %d",
				t.Daily, t.Weekly, t.Monthly)
		case max(t.Daily, t.Weekly, t.Monthly, t.Yearly) > maxMedia:
			return refuse("at most %d media in a tier", maxMedia)
		}
		return nil
	case KindRoundRobin:
	case KindHanoi:
		least, most = 2, 15
	case KindSpread:
		// Two that are written in turn, and two to eighteen that are kept.
		least, most = 4, 3+len(spreadBounds)
		if s.Ordinal == ByCalendar {
			return refuse("spread counts sessions; it cannot follow the calendar")
		}
	default:
		return refuse("kind %.30q is none of the known ones", string(s.Kind))
	}
	switch {
	case s.Media == 0:
		return refuse("it has no media; %s needs at least %d", s.Kind, least)
	case s.Media < least || s.Media > most:
		return refuse("%s works with %d to %d media, not %d", s.Kind, least, most, s.Media)
	}
	return nil
}

// String names the set with its numbers, like "grandfather-father-son 4+4+12".
func (s Set) String() string {
	switch s.Kind {
	case KindGFS:
		t := fmt.Sprintf("%s %d+%d+%d", s.Kind, s.GFS.Daily, s.GFS.Weekly, s.GFS.Monthly)
		if s.GFS.Yearly > 0 {
			t += fmt.Sprintf("+%d", s.GFS.Yearly)
		}
		return t
	case KindSixTapeFridayAB, KindSixTapeMondayFull:
		return string(s.Kind)
	}
	return fmt.Sprintf("%s of %d", s.Kind, s.Media)
}

// Slots lists the set's slots in order of index. A Set that is not valid has none.
func (s Set) Slots() []Slot {
	if s.check() != nil {
		return nil
	}
	var slots []Slot
	add := func(t Tier, partial bool, name string) {
		slots = append(slots, Slot{Index: len(slots), Name: name, Tier: t, Partial: partial})
	}
	switch s.Kind {
	case KindGFS:
		for _, tier := range []struct {
			t Tier
			n int
		}{{Daily, s.GFS.Daily}, {Weekly, s.GFS.Weekly}, {Monthly, s.GFS.Monthly}, {Yearly, s.GFS.Yearly}} {
			for i := range tier.n {
				add(tier.t, false, fmt.Sprintf("%s-%d", tier.t, i+1))
			}
		}
	case KindSixTapeFridayAB, KindSixTapeMondayFull:
		for i, d := range []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday} {
			add(Daily, s.Kind == KindSixTapeMondayFull && i > 0, d.String())
		}
		add(Weekly, false, "Friday-A")
		add(Weekly, false, "Friday-B")
	default:
		for i := range s.Media {
			add(Daily, false, fmt.Sprintf("%s-%d", Daily, i+1))
		}
	}
	return slots
}

// Slot says which slot the session on day d writes, session being how many took place before it. A set
// driven by the calendar looks at the day and the hours only, one driven by sessions at the number only.
func (s Set) Slot(session int, d rotation.Day, h Hours) (Slot, error) {
	if err := s.check(); err != nil {
		return Slot{}, err
	}
	if session < 0 {
		return Slot{}, fmt.Errorf("%w: session %d: they count from 0", ErrSet, session)
	}
	return s.Slots()[s.index(session, d, h)], nil
}

// Period is after how many sessions the scheme repeats, when none is missed and no day is a holiday; zero
// where it does not repeat within a lifetime ([KindSpread], and [KindGFS] by calendar, because months are
// uneven).
func (s Set) Period() int {
	switch s.Kind {
	case KindRoundRobin:
		return s.Media
	case KindHanoi:
		return 1 << (s.Media - 1)
	case KindSixTapeFridayAB, KindSixTapeMondayFull:
		return 10
	case KindGFS:
		if s.calendar() {
			return 0
		}
		t := s.GFS
		n := lcm(sessionsPerWeek*times(t.Daily, 4), sessionsPerMonth*times(t.Weekly, 3))
		if t.Yearly == 0 {
			return lcm(n, sessionsPerMonth*t.Monthly)
		}
		return lcm(n, lcm(12*sessionsPerMonth*times(t.Monthly, 11), 12*sessionsPerMonth*t.Yearly))
	}
	return 0
}

// Sizes of the idealised calendar of a set that is driven by sessions.
const (
	sessionsPerWeek  = 5
	sessionsPerMonth = 20
)

// times is how often a round with b steps must be made until n media stand as at first.
func times(n, b int) int { return n / gcd(n, b) }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// endless stands for a period that no practice will see the end of; larger numbers would not fit 32 bits.
const endless = 1 << 30

func lcm(a, b int) int {
	if a /= gcd(a, b); a > endless/b {
		return endless
	}
	return a * b
}

func (s Set) calendar() bool {
	return s.Kind != KindSpread && s.Ordinal != BySession
}

// epoch is a Monday, from which calendars are counted.
var epoch = rotation.Day{Year: 2024, Month: time.January, Day: 1}

// nominal numbers the opening days of the week from the epoch, holidays included: a fixed number for a day.
func nominal(d rotation.Day, h Hours) int {
	n := floorDiv(monday(d).Sub(epoch), 7) * h.perWeek()
	for _, w := range fromMonday {
		if w == d.Weekday() {
			break
		}
		if h.works(w) {
			n++
		}
	}
	return n
}

func floorDiv(a, b int) int { return (a - mod(a, b)) / b }

// mod is the remainder that is never negative.
func mod(a, b int) int { return ((a % b) + b) % b }

// index is Slot for a valid set.
func (s Set) index(session int, d rotation.Day, h Hours) int {
	if s.Kind == KindSpread {
		return spreadIndex(s.Media, session)
	}
	if !s.calendar() {
		return s.bySession(session)
	}
	switch s.Kind {
	case KindGFS:
		return s.gfsByCalendar(d, h)
	case KindSixTapeFridayAB, KindSixTapeMondayFull:
		day := (int(d.Weekday()) + 6) % 7
		if h.LastOfWeek(d) || day > 3 {
			return 4 + mod(floorDiv(monday(d).Sub(epoch), 7), 2)
		}
		return day
	}
	return s.bySession(mod(nominal(d, h), s.Period()))
}

func (s Set) bySession(n int) int {
	switch s.Kind {
	case KindHanoi:
		k := 0
		for n++; n&1 == 0 && k < s.Media-1; n >>= 1 {
			k++
		}
		return k
	case KindSixTapeFridayAB, KindSixTapeMondayFull:
		if day := n % sessionsPerWeek; day < 4 {
			return day
		}
		return 4 + n/sessionsPerWeek%2
	case KindGFS:
		return s.gfsBySession(n)
	}
	return n % s.Media
}

func (s Set) gfsBySession(n int) int {
	t := s.GFS
	week, day := n/sessionsPerWeek, n%sessionsPerWeek
	month, weekOfMonth := week/4, week%4
	switch {
	case day < sessionsPerWeek-1:
		return (week*4 + day) % t.Daily
	case weekOfMonth < 3:
		return t.Daily + (month*3+weekOfMonth)%t.Weekly
	case t.Yearly == 0:
		return t.Daily + t.Weekly + month%t.Monthly
	case month%12 == 11:
		return t.Daily + t.Weekly + t.Monthly + month/12%t.Yearly
	}
	return t.Daily + t.Weekly + (month/12*11+month%12)%t.Monthly
}

func (s Set) gfsByCalendar(d rotation.Day, h Hours) int {
	t := s.GFS
	switch {
	case t.Yearly > 0 && h.LastOfYear(d):
		return t.Daily + t.Weekly + t.Monthly + mod(d.Year, t.Yearly)
	case h.LastOfMonth(d):
		months := 12
		if t.Yearly > 0 {
			months = 11 // December's is the year's
		}
		return t.Daily + t.Weekly + mod(d.Year*months+int(d.Month)-1, t.Monthly)
	case h.LastOfWeek(d):
		return t.Daily + mod(floorDiv(monday(d).Sub(epoch), 7), t.Weekly)
	}
	return (int(d.Weekday()) + 6) % 7 % t.Daily
}
