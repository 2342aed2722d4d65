package media

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/carekeep/carekeep/rotation"
)

// Class is what a medium is made of.
type Class string

// Classes of media.
const (
	HardDisk Class = "hard-disk"
	SSD      Class = "ssd"
	Flash    Class = "flash" // USB sticks and cards
	Tape     Class = "tape"
	Optical  Class = "optical"
)

// forgets reports whether the class loses its charge when it lies without power for long.
func (c Class) forgets() bool { return c == SSD || c == Flash }

// State is where a medium is in its life.
type State string

// The states. Missing is never the end by itself: it opens a task, such as the assessment of a data breach.
const (
	New         State = "new"      // bought; nothing of ours on it
	Labelled    State = "labelled" // carries a signed label
	Scratch     State = "scratch"  // free to be written
	Writing     State = "writing"
	Written     State = "written"     // holds copies, and is at the practice
	TransitOut  State = "transit-out" // on its way out
	Offsite     State = "offsite"
	Recalled    State = "recalled"     // offsite, and asked to come back
	TransitBack State = "transit-back" // on its way back
	Quarantined State = "quarantined"  // unknown label, failed read, perhaps malware
	Missing     State = "missing"
	Retired     State = "retired" // no longer written; still to be sanitised
	Sanitising  State = "sanitising"
	Destroyed   State = "destroyed"
)

// Content is one recovery point that a medium holds.
type Content struct {
	Point string       // the recovery point's id, hexadecimal
	Day   rotation.Day // business day that it stands for
	// What says in a few words what it is to people, like "the month-end of October"; never a name of a
	// file or of a patient, for it is shown at the desk. Empty: "the backup of Mon 5 Oct".
	What      string       `json:",omitempty"`
	Promise   rotation.Day `json:",omitzero"`  // may not be overwritten through this day, as promised when it was admitted
	Holds     []string     `json:",omitempty"` // legal holds on it
	Kept      bool         `json:",omitempty"` // the retention plan still keeps it
	Elsewhere int          `json:",omitempty"` // verified copies of it on other media or in other places
	Verified  bool         // read back and found good
}

func (c Content) what() string {
	if c.What != "" {
		return c.What
	}
	return "the backup of " + shortDay(c.Day)
}

// Medium is one drive, tape or disc, as the register knows it.
type Medium struct {
	Name     string // on the sticker, like "BLUE-2"
	Class    Class
	Identity Identity
	Slot     string `json:",omitempty"` // slot of the set in which it stands, like "weekly-1"; empty: a spare
	Tier     Tier   `json:",omitempty"` // of that slot
	State    State
	Site     string    `json:",omitempty"` // where it is, or was last
	Keeper   string    `json:",omitempty"` // member of staff who has it, or takes it home
	Contents []Content `json:",omitempty"`
	Evidence Grade     // how well the last hand-over is known
	Wear     Wear
	Reads    []ReadTest   `json:",omitempty"`
	Written  rotation.Day `json:",omitzero"`  // when it was last written
	WriteNo  int          `json:",omitempty"` // how many writes the whole set had had by then, this one included
	Format   string       `json:",omitempty"` // what reads it, as a [Reader] lists it: "usb-a", "lto-8"
}

// Wear is what a medium has been through.
type Wear struct {
	Writes, Mounts, Errors int
	Bytes                  int64
	FirstUsed              rotation.Day `json:",omitzero"`
	LastPowered            rotation.Day `json:",omitzero"`
	LastRead               rotation.Day `json:",omitzero"`
}

// ReadTest is one attempt to read a medium back.
type ReadTest struct {
	Day   rotation.Day
	By    string // the host, or the person
	Bytes int64
	Good  bool
}

// verified reports whether the medium holds something that was read back and found good.
func (m Medium) verified() bool {
	return slices.ContainsFunc(m.Contents, func(c Content) bool { return c.Verified })
}

// newest is the day of the newest verified content.
func (m Medium) newest() rotation.Day {
	var d rotation.Day
	for _, c := range m.Contents {
		if c.Verified && c.Day.After(d) {
			d = c.Day
		}
	}
	return d
}

// Code names a kind of [Reason], for programs.
type Code string

// Codes of reasons.
const (
	CodeHold      Code = "hold"
	CodePromise   Code = "promise"
	CodeOnlyCopy  Code = "only-copy"
	CodeTooSoon   Code = "too-soon"   // fewer days since it was written than required
	CodeTooFew    Code = "too-few"    // fewer other writes since then than required
	CodeClock     Code = "clock"      // the clock is not to be trusted, so nothing can be judged expired
	CodeState     Code = "state"      // its state does not allow it
	CodeSlot      Code = "slot"       // it stands in another slot
	CodeAway      Code = "away"       // it is not at the practice
	CodeWorn      Code = "worn"       // beyond its writes or its age
	CodeErrors    Code = "errors"     // too many errors, or its last read test failed
	CodeIdentity  Code = "identity"   // it is not what it says
	CodeEvidence  Code = "evidence"   // what is known of it is too weak
	CodeRoutine   Code = "routine"    // the routine itself
	CodeReadTest  Code = "read-test"  // cannot be tested as often as required
	CodePower     Code = "power"      // would lie without power for too long
	CodeReader    Code = "reader"     // nothing tested can read it
	CodeSanitised Code = "sanitation" // the certificate is missing or wrong
)

// Reason is one ground for a refusal or a decision.
type Reason struct {
	Code  Code
	Text  string       // for people, one clause without a full stop
	Until rotation.Day `json:",omitzero"` // until when it holds; zero: no end is known
}

// Guards is what must hold before a medium is overwritten or moved. The zero value is safe: it trusts no
// clock, so it allows the writing of media on which nothing was ever promised, and of no others.
type Guards struct {
	Today rotation.Day
	// ClockTrusted says that Today is believed. Backing up is never refused because of a clock, only
	// destroying is.
	ClockTrusted bool

	// A medium is not overwritten before MinDays days have passed and MinWrites other writes to the set
	// have been made since it was written; no clock can defeat the second. Writes is the number so far.
	MinDays, MinWrites, Writes int

	MaxWrites  int           // beyond it a medium is worn; zero: no bound
	MaxAge     rotation.Span // since the first use; zero: no bound
	MaxErrors  int           // more make it unfit
	Evidence   Grade         // least grade at which another medium counts as offsite
	ReadOrders []string      // names of media that are to be read, for a test or a restore
	Site       string        // the practice; default "practice"
	Contact    string        // whom the person at the desk calls; default "your IT support"
	// Peers is the whole register: what must be offsite before another medium is called back.
	Peers []Medium
}

func (g Guards) site() string    { return cmp.Or(g.Site, Practice) }
func (g Guards) contact() string { return cmp.Or(g.Contact, "your IT support") }

// Practice is the name of the site where backups are made, unless another is given.
const Practice = "practice"

// Overwritable says why m may not be overwritten; nothing means that it may. It looks at what the medium
// holds and at when it was written, not at its state or wear.
func Overwritable(m Medium, g Guards) []Reason {
	var rs []Reason
	add := func(code Code, until rotation.Day, format string, args ...any) {
		rs = append(rs, Reason{Code: code, Until: until, Text: fmt.Sprintf(format, args...)})
	}
	clock := false
	for _, c := range m.Contents {
		for _, h := range c.Holds {
			add(CodeHold, rotation.Day{}, "it holds %s under the hold %s, which has no end", c.what(), h)
		}
		switch {
		case c.Promise.IsZero():
		case !g.ClockTrusted || g.Today.IsZero():
			clock = true
		case !g.Today.After(c.Promise):
			add(CodePromise, c.Promise, "it holds %s until %s", c.what(), until(c.Promise, g.Today))
		}
		if c.Kept && c.Elsewhere < 1 {
			add(CodeOnlyCopy, rotation.Day{}, "it holds the only copy of %s", c.what())
		}
	}
	if m.Written.IsZero() && m.WriteNo == 0 {
		if clock {
			add(CodeClock, rotation.Day{}, "the computer's date is not to be trusted, so nothing on it can be judged expired")
		}
		return rs
	}
	switch {
	case g.MinDays <= 0:
	case !g.ClockTrusted || g.Today.IsZero():
		clock = true
	default:
		if free := m.Written.AddDays(g.MinDays); g.Today.Before(free) {
			add(CodeTooSoon, free, "it was written on %s and must rest for %s", shortDay(m.Written), count(g.MinDays, "day"))
		}
	}
	if since := g.Writes - m.WriteNo; since < g.MinWrites {
		add(CodeTooFew, rotation.Day{}, "only %s since it was written, and %d are required",
			count(max(since, 0), "other backup"), g.MinWrites)
	}
	if clock {
		add(CodeClock, rotation.Day{}, "the computer's date is not to be trusted, so nothing on it can be judged expired")
	}
	return rs
}

// Unfit says why m should not be written even where nothing on it is missed: worn out, failing, or in a
// state in which it is not to be written.
func Unfit(m Medium, g Guards) []Reason {
	var rs []Reason
	add := func(code Code, format string, args ...any) {
		rs = append(rs, Reason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	switch m.State {
	case Labelled, Scratch, Written:
	default:
		add(CodeState, "it is %s", m.State.plain())
	}
	if g.MaxWrites > 0 && m.Wear.Writes >= g.MaxWrites {
		add(CodeWorn, "it has been written %s, and %d is its limit", count(m.Wear.Writes, "time"), g.MaxWrites)
	}
	if !g.MaxAge.IsZero() && !m.Wear.FirstUsed.IsZero() && !g.Today.IsZero() && !g.Today.Before(g.MaxAge.From(m.Wear.FirstUsed)) {
		add(CodeWorn, "it has been in use since %s, longer than %s", m.Wear.FirstUsed, g.MaxAge)
	}
	if m.Wear.Errors > g.MaxErrors {
		add(CodeErrors, "it had %s", count(m.Wear.Errors, "error"))
	}
	if n := len(m.Reads); n > 0 && !m.Reads[n-1].Good {
		add(CodeErrors, "its last read test, on %s, failed", shortDay(m.Reads[n-1].Day))
	}
	return rs
}

// plain is the state in words for the desk.
func (s State) plain() string {
	switch s {
	case New:
		return "new and has no label yet"
	case Writing:
		return "being written"
	case TransitOut, TransitBack:
		return "on its way, says the register"
	case Offsite:
		return "offsite, says the register"
	case Recalled:
		return "called back, and not yet booked in"
	case Quarantined:
		return "set aside because something is wrong with it"
	case Missing:
		return "missing, says the register"
	case Retired, Sanitising, Destroyed:
		return "out of service"
	}
	return string(s)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
