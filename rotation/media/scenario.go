package media

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/carekeep/carekeep/rotation"
)

// Shift is what happens on a business day. People come and go with the staff's hours of [Hours]: the due
// medium comes in when the staff arrive, and media leave when the staff do.
type Shift struct {
	Run rotation.Clock // when the backup starts; what was written until then is in it
	// Unplug is when the medium is detached, by software or by hand; the zero Clock leaves it attached until
	// the next one is plugged in, or until it leaves. A run that is still going is not cut short.
	Unplug rotation.Clock
	// SameDay: the medium leaves when the staff leave on this very day; the run must have ended by then.
	// Otherwise it leaves at the end of the next business day.
	SameDay bool
}

// Routine is how media are handled. Every business day has one session.
type Routine struct {
	Name  string
	Usual Shift
	// BeforeClosed replaces Usual on the last business day before one or more closed days, such as Fridays.
	BeforeClosed *Shift `json:",omitempty"`
}

func (r Routine) shift(h Hours, d rotation.Day) Shift {
	if r.BeforeClosed != nil && h.NextOpen(d) != d.AddDays(1) {
		return *r.BeforeClosed
	}
	return r.Usual
}

// NextDay is the common routine: backup at 20:00, and last night's drive goes home at the end of the next
// day.
func NextDay() Routine {
	return Routine{Name: "next-day", Usual: Shift{Run: rotation.Clock{Hour: 20}}}
}

// NextDayDetached is [NextDay] with the drive detached at 21:00, as soon as the run is verified.
func NextDayDetached() Routine {
	return Routine{Name: "detached", Usual: Shift{Run: rotation.Clock{Hour: 20}, Unplug: rotation.Clock{Hour: 21}}}
}

// EarlyFriday is [NextDay], but before a weekend or a holiday the backup is at 16:00 and leaves that day.
func EarlyFriday() Routine {
	r := NextDay()
	r.Name = "early-friday"
	early := SameDay().Usual
	r.BeforeClosed = &early
	return r
}

// SameDay is the routine with the freshest copy away: backup at 16:00, detached when done, and the drive
// goes home the same day. Later changes of the day are in the next backup only.
func SameDay() Routine {
	return Routine{Name: "same-day", Usual: Shift{Run: rotation.Clock{Hour: 16},
		Unplug: rotation.Clock{Hour: 16, Minute: 30}, SameDay: true}}
}

// FaultKind is what can go wrong in a routine.
type FaultKind string

// The faults.
const (
	LateReturn  FaultKind = "late return"  // the medium due on the day comes Length business days late
	LostDrive   FaultKind = "lost drive"   // the medium written on the day is lost when it leaves; a new one is there after Length
	MissedNight FaultKind = "missed night" // no backup is made on the day
	StayedIn    FaultKind = "stayed in"    // what should leave on the day stays for Length business days more
	BadCopy     FaultKind = "bad copy"     // the copy made on the day is not readable
	Blackout    FaultKind = "blackout"     // from the day on nothing runs and nobody comes in for Length business days
)

// Fault is one thing that goes wrong on one business day.
type Fault struct {
	Kind   FaultKind
	Day    rotation.Day
	Length int `json:",omitempty"` // business days; default 1, and for a lost drive 5
}

// String says what went wrong, like "late return on Tue 6 Oct, 1 day".
func (f Fault) String() string {
	s := fmt.Sprintf("%s on %s", f.Kind, shortDay(f.Day))
	switch f.Kind {
	case LateReturn, StayedIn, Blackout:
		s += ", by " + count(f.length(), "business day")
	case LostDrive:
		s += ", replaced after " + count(f.length(), "business day")
	}
	return s
}

func (f Fault) length() int {
	if f.Kind == LostDrive {
		return cmp.Or(f.Length, 5)
	}
	return cmp.Or(f.Length, 1)
}

// Keeper is a member of staff who takes media home.
type Keeper struct {
	Name string // as it is to stand on the page
	Site string // where the media are then; default "home of " and the name
}

func (k Keeper) site() string { return cmp.Or(k.Site, homeOf+k.Name) }

const homeOf = "home of "

// Scenario is all that [Simulate] needs. Set and Start are required.
type Scenario struct {
	Set     Set
	Routine Routine
	Hours   Hours
	Start   rotation.Day // first day of the timeline
	// Days is its length; zero: until the set and the week have come round together (see
	// [Timeline.Exhaustive]), at most 28 years.
	Days int
	// Cold: begin with empty media at the practice. Otherwise the routine has already run for as long as it
	// takes until every medium has been written.
	Cold bool

	Names    []string // of the media in the order of [Set.Slots]; default colours by tier: BLUE-1, GREEN-1 …
	Class    Class    // of all media
	Keepers  []Keeper // medium i goes home with keeper i modulo their number; default one, "staff"
	Evidence Grade    // how well hand-overs are known
	NoVerify bool     // nothing is read back: no copy counts as good

	RunMinutes int // how long a run takes, with its verification; default 30
	Faults     []Fault
}

// ErrScenario is wrapped by errors about a scenario that cannot be played.
var ErrScenario = errors.New("scenario")

func (s Scenario) withDefaults() (Scenario, error) {
	if err := s.Set.check(); err != nil {
		return s, err
	}
	fail := func(format string, args ...any) (Scenario, error) {
		return s, fmt.Errorf("%w: %s", ErrScenario, fmt.Sprintf(format, args...))
	}
	s.Hours = s.Hours.withDefaults()
	if err := s.Hours.check(); err != nil {
		return fail("%v", err)
	}
	s.RunMinutes = cmp.Or(s.RunMinutes, 30)
	if s.Start.IsZero() {
		return fail("it needs a day to start on")
	}
	if s.Days < 0 || s.Days > maxDays {
		return fail("%d days: expected 0 to %d", s.Days, maxDays)
	}
	if s.RunMinutes < 0 {
		return fail("a run cannot take %d minutes", s.RunMinutes)
	}
	if s.Routine.Usual.Run == (rotation.Clock{}) {
		return fail("the routine does not say when the backup runs; take one such as NextDay()")
	}
	shifts := []Shift{s.Routine.Usual}
	if s.Routine.BeforeClosed != nil {
		shifts = append(shifts, *s.Routine.BeforeClosed)
	}
	for _, shift := range shifts {
		end := minutes(shift.Run) + s.RunMinutes
		switch {
		case minutes(shift.Run) < minutes(s.Hours.StaffFrom):
			return fail("the run at %s is before the staff bring the medium in at %s; for a run after midnight let the "+
				"medium come in on the evening before and give a time before midnight", shift.Run, s.Hours.StaffFrom)
		case end >= 24*60:
			return fail("the run at %s of %d minutes ends after midnight", shift.Run, s.RunMinutes)
		case shift.SameDay && end > minutes(s.Hours.StaffTo):
			return fail("the run at %s of %d minutes has not ended when the staff take the medium away at %s",
				shift.Run, s.RunMinutes, s.Hours.StaffTo)
		}
	}
	slots := s.Set.Slots()
	switch {
	case len(s.Names) == 0:
		s.Names = names(slots)
	case len(s.Names) != len(slots):
		return fail("%d names for %d media", len(s.Names), len(slots))
	}
	seen := map[string]bool{}
	for _, n := range s.Names {
		if n == "" || seen[n] {
			return fail("two media are named %q, or one has no name", n)
		}
		seen[n] = true
	}
	if len(s.Keepers) == 0 {
		s.Keepers = []Keeper{{Name: "staff", Site: "offsite"}}
	}
	for _, k := range s.Keepers {
		if k.Name == "" || k.site() == Practice {
			return fail("a keeper needs a name and a place other than the practice")
		}
	}
	for _, f := range s.Faults {
		switch f.Kind {
		case LateReturn, LostDrive, MissedNight, StayedIn, BadCopy, Blackout:
		default:
			return fail("fault %.30q is none of the known ones", string(f.Kind))
		}
		if f.Length < 0 || !s.Hours.Open(f.Day) {
			return fail("a fault on %s: that is no business day, or its length is negative", f.Day)
		}
	}
	return s, nil
}

// maxDays is the longest timeline: the weekdays and dates of 28 years.
const maxDays = 10227

var colours = map[Tier]string{Daily: "BLUE", Weekly: "GREEN", Monthly: "RED", Yearly: "WHITE"}

// names gives media the colour of their tier and a number.
func names(slots []Slot) []string {
	seen := map[Tier]int{}
	out := make([]string, len(slots))
	for i, s := range slots {
		seen[s.Tier]++
		out[i] = fmt.Sprintf("%s-%d", colours[s.Tier], seen[s.Tier])
	}
	return out
}

// cycle is how many days pass until set and week come round together, and whether that is less than maxDays.
func (s Scenario) cycle() (days int, whole bool) {
	period := s.Set.Period()
	if period == 0 {
		if s.Set.Kind == KindSpread {
			return 4 * 365, false
		}
		return maxDays, true
	}
	week := s.Hours.perWeek()
	weeks := lcm(period, week) / week
	if weeks > maxDays/7 {
		return maxDays, false
	}
	return weeks * 7, true
}

// warm is how many days it takes until every medium has been written.
func (s Scenario) warm() int {
	week := s.Hours.perWeek()
	switch {
	case s.Set.Kind == KindGFS && s.Set.calendar():
		years := 1 + s.Set.GFS.Monthly/11 + s.Set.GFS.Yearly
		return 366 * years
	case s.Set.Kind == KindSpread:
		return 0 // it is about its own beginning
	}
	return (min(s.Set.Period(), maxDays)/week+2)*7 + 2*len(s.Hours.Holidays.Days)
}
