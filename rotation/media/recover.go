package media

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// Stored is one copy of one recovery point, as an inventory lists it.
type Stored struct {
	Point    string // the recovery point's id, hexadecimal; a [Timeline] numbers its sessions
	Data     Moment // when the run began: what is in it
	Medium   string // or the name of the store
	Site     string
	Keeper   string `json:",omitempty"` // who has it
	Attached bool   // a computer of the practice can reach it: plugged in, or online and not locked
	Verified bool   // read back and found good
	Evidence Grade  // how well it is known to be there
}

// Inventory is where all copies are at one moment.
type Inventory struct {
	At     Moment
	Copies []Stored
	Hours  Hours // of the practice, for the loss in surgery hours
}

// Incident is what happened. The zero Incident is nothing: everything can be used.
type Incident struct {
	Burnt     []string // sites at which everything is gone
	Encrypted bool     // everything that the practice's computers can reach is encrypted
	// PoisonDays is for how many days the data has been wrong before it was noticed: a copy must have been
	// made before that, counted from the moment of the inventory.
	PoisonDays int
	Missing    []string // media that cannot be found
	Evidence   Grade    // copies known less well are not counted on
	Unverified bool     // take also copies that were never read back, as a last resort
}

// String describes the incident.
func (i Incident) String() string {
	var parts []string
	for _, s := range i.Burnt {
		parts = append(parts, "everything at "+place(s)+" is gone")
	}
	if i.Encrypted {
		parts = append(parts, "everything that is attached is encrypted")
	}
	if i.PoisonDays > 0 {
		parts = append(parts, fmt.Sprintf("the data has been wrong for %s", count(i.PoisonDays, "day")))
	}
	if len(i.Missing) > 0 {
		parts = append(parts, strings.Join(i.Missing, ", ")+" cannot be found")
	}
	if len(parts) == 0 {
		return "nothing has happened"
	}
	return strings.Join(parts, ", and ")
}

// place is a site in a sentence.
func place(site string) string {
	if site == Practice || strings.HasPrefix(site, homeOf) {
		return "the " + site
	}
	return site
}

// Rescue is what an incident leaves.
type Rescue struct {
	Found    bool
	Copy     Stored        // the newest one that can be used
	Lost     time.Duration // surgery time whose data is lost
	Sentence string
	Rejected []Rejection // newer copies, and why each cannot be used; all copies if none was found
}

// Recoverable says what to restore after an incident, from where, and how old it is. Of copies that are
// equally new it takes the one that is known best.
func Recoverable(inv Inventory, i Incident) Rescue {
	copies := slices.Clone(inv.Copies)
	slices.SortStableFunc(copies, func(a, b Stored) int {
		return cmp.Or(b.Data.Day.Compare(a.Data.Day), cmp.Compare(minutes(b.Data.Clock), minutes(a.Data.Clock)),
			cmp.Compare(b.Evidence, a.Evidence), cmp.Compare(a.Medium, b.Medium))
	})
	var r Rescue
	clean := Moment{inv.At.Day.AddDays(-i.PoisonDays), inv.At.Clock}
	for _, c := range copies {
		var rs []Reason
		add := func(code Code, format string, args ...any) {
			rs = append(rs, Reason{Code: code, Text: fmt.Sprintf(format, args...)})
		}
		if inv.At.Before(c.Data) {
			add(CodeClock, "it claims to be from the future")
		}
		if slices.Contains(i.Burnt, c.Site) {
			add(CodeAway, "it was at %s", place(c.Site))
		}
		if i.Encrypted && c.Attached {
			add(CodeState, "it was attached")
		}
		if slices.Contains(i.Missing, c.Medium) {
			add(CodeAway, "it cannot be found")
		}
		if i.PoisonDays > 0 && !c.Data.Before(clean) {
			add(CodeErrors, "it was made after the data went wrong")
		}
		if !c.Verified && !i.Unverified {
			add(CodeEvidence, "it was never read back")
		}
		if c.Evidence < i.Evidence {
			add(CodeEvidence, "where it is is only %s", c.Evidence)
		}
		if len(rs) > 0 {
			r.Rejected = append(r.Rejected, Rejection{c.Medium, rs})
			continue
		}
		r.Found, r.Copy = true, c
		r.Lost = inv.Hours.Lost(c.Data, inv.At)
		r.Sentence = fmt.Sprintf("If %s: restore the backup of %s from %s at %s; %.1f surgery hours are lost.",
			i, c.Data, c.Medium, place(c.Site), r.Lost.Hours())
		if i.String() == (Incident{}).String() {
			r.Sentence = fmt.Sprintf("The newest copy is the backup of %s on %s at %s; %.1f surgery hours have passed since.",
				c.Data, c.Medium, place(c.Site), r.Lost.Hours())
		}
		return r
	}
	r.Sentence = fmt.Sprintf("If %s: nothing can be restored.", i)
	return r
}

// Inventory is where the copies are at one moment of a timeline. Outside it there are none.
func (t Timeline) Inventory(at Moment) Inventory {
	minute := at.Day.Sub(t.Scenario.Start)*day + minutes(at.Clock)
	i, _ := slices.BinarySearchFunc(t.spans, minute, func(s span, m int) int {
		if s.to <= m {
			return -1
		}
		return 1
	})
	if minute < t.from || i >= len(t.spans) {
		return Inventory{At: at, Hours: t.Scenario.Hours}
	}
	return t.inventory(t.spans[i], minute)
}

func (t *Timeline) inventory(s span, minute int) Inventory {
	inv := Inventory{At: t.moment(minute), Hours: t.Scenario.Hours}
	for i, u := range s.units {
		if u.lost || u.has == nil || u.writing {
			continue
		}
		k := t.Scenario.Keepers[u.keeper]
		c := Stored{Point: fmt.Sprintf("%06x", u.has.session), Data: t.moment(u.has.data), Medium: t.Scenario.Names[i], Site: Practice,
			Attached: u.plugged, Verified: u.has.verified, Evidence: Observed}
		if u.away {
			c.Site, c.Keeper, c.Evidence = k.site(), k.Name, t.Scenario.Evidence
		}
		inv.Copies = append(inv.Copies, c)
	}
	return inv
}

// InventoryOf lists the copies of a register of media, for [Recoverable]. A copy is taken to be from its
// business day at the usual time of the run. What is at the practice counts as attached, for it may be.
func InventoryOf(register []Medium, at Moment, run rotation.Clock, h Hours) Inventory {
	inv := Inventory{At: at, Hours: h}
	for _, m := range register {
		if slices.Contains([]State{New, Missing, Writing, Sanitising, Destroyed}, m.State) {
			continue
		}
		for _, c := range m.Contents {
			inv.Copies = append(inv.Copies, Stored{Point: c.Point, Data: Moment{c.Day, run}, Medium: m.Name, Site: m.Site,
				Keeper: m.Keeper, Attached: m.Site == Practice, Verified: c.Verified, Evidence: m.Evidence})
		}
	}
	return inv
}
